// Answers given on this tablet: kept in it until the server has them, sent again by themselves.
// Only the answers are kept, with the user's number; no key and no password. One that is held can
// still be taken back: it is sent when its time is over, when it is let go, or when its page is left.
const STORE = "mezoroi-answers";
const AGAIN_MS = 3000;
const REFUSED_AGAIN_MS = 30000; // what is forbidden now may be allowed after another login
const LONGEST_MS = 15000; // a dead connection ends no request by itself for minutes
const LONGEST_HELD_MS = 60000;
const FINAL = [200, 404, 422]; // taken, or never to be taken
const waiting = new Map(); // key -> the answer, and who is to be told once it is sent
let busy = false;
let leaving = false;
let timer = 0;

const mine = () => document.body.dataset.user || "";

let memory = null; // where the browser keeps nothing: until the page is left

function read() {
  if (memory) return memory;
  try {
    return JSON.parse(localStorage.getItem(STORE)) || [];
  } catch {
    return [];
  }
}

function write(entries) {
  try {
    localStorage.setItem(STORE, JSON.stringify(entries));
    memory = null;
  } catch {
    memory = entries;
  }
}

// Keep an answer and send it, after a time in which it can be taken back; `sent` resolves with the
// server's reply, however long that takes, and never for an answer that was taken back.
export function keepAnswer(address, fields, heldMs = 0) {
  const key = newKey();
  const now = Date.now();
  const entry = { key, user: mine(), address, fields, at: now, heldUntil: now + heldMs };
  write([...read(), entry]);
  const sent = new Promise((resolve) => { waiting.set(key, { entry, resolve }); });
  send();
  return { sent, letGo: () => letGo(key), takeBack: () => takeBack(key) };
}

function letGo(...keys) {
  write(read().map((entry) => (keys.includes(entry.key) ? { ...entry, heldUntil: 0 } : entry)));
  send();
}

// False where it is too late: the answer is on its way.
function takeBack(key) {
  if (!read().some((entry) => entry.key === key && heldMs(entry) > 0)) return false;
  waiting.delete(key);
  write(read().filter((entry) => entry.key !== key));
  return true;
}

// How long an answer is still held; a clock that was put back holds none for hours.
function heldMs(entry) {
  const left = (entry.heldUntil || 0) - Date.now();
  return left <= LONGEST_HELD_MS ? left : 0;
}

export function unsent() {
  return read().filter((entry) => entry.user === mine()).length;
}

// Whether an answer to this address is on the tablet, or on its way: a page that was loaded again
// before the server had it would ask once more.
export function isKept(address) {
  return read().some((entry) => entry.user === mine() && entry.address === address);
}

export function startAnswers() {
  window.addEventListener("online", send);
  window.addEventListener("storage", (event) => { if (event.key === STORE && gone()) send(); });
  window.addEventListener("pageshow", () => { leaving = false; });
  window.addEventListener("pagehide", () => {
    leaving = true; // what is sent now goes on without the page
    if (waiting.size) letGo(...waiting.keys());
  });
  if (unsent()) send();
}

async function send() {
  if (busy || !mine()) return;
  busy = true;
  clearTimeout(timer);
  tell("sending");
  const forbidden = new Set(); // they stay on the tablet, and keep no other from being sent
  for (;;) {
    const entry = read().find((each) => isDue(each) && !forbidden.has(each.key)) || gone();
    if (!entry) break;
    const reply = await post(entry);
    if (reply === "forbidden") {
      if (waiting.has(entry.key) && !kept(entry.key)) waiting.delete(entry.key);
      forbidden.add(entry.key);
      continue;
    }
    if (typeof reply === "string") {
      timer = setTimeout(send, AGAIN_MS);
      busy = false;
      tell(reply);
      return;
    }
    write(read().filter((each) => each.key !== entry.key));
    const told = waiting.get(entry.key);
    waiting.delete(entry.key);
    if (told) told.resolve(reply);
    else if (!reply.ok) tell("refused", reply.error); // given on a page that was left
  }
  busy = false;
  const later = read().filter((each) => each.user === mine()).map(heldMs).filter((left) => left > 0);
  if (forbidden.size) later.push(REFUSED_AGAIN_MS);
  if (later.length) timer = setTimeout(send, Math.min(...later));
  tell(forbidden.size ? "login" : "sent");
}

const isDue = (entry) => entry.user === mine() && heldMs(entry) <= 0;

const kept = (key) => read().some((each) => each.key === key);

// An answer that this page waits for and another tab has sent: sent again, it gets the same reply.
function gone() {
  return [...waiting.values()].map((told) => told.entry).find((entry) => !kept(entry.key));
}

// The server's reply, or why the answer must be sent again: "offline", "login", or "forbidden", which
// is also said where somebody else has logged in.
async function post(entry) {
  const content = new URLSearchParams(entry.fields);
  content.set("key", entry.key);
  content.set("waited", Math.max(0, (Date.now() - entry.at) / 1000).toFixed(1));
  try {
    const reply = await fetch(entry.address, {
      method: "POST",
      body: content,
      headers: { accept: "application/json", "x-mezoroi-user": entry.user },
      keepalive: leaving,
      signal: AbortSignal.timeout(LONGEST_MS),
    });
    if (reply.status === 401) return "login";
    if (reply.status === 403) return "forbidden";
    if (!FINAL.includes(reply.status)) return "offline";
    return { ok: reply.ok, ...(await reply.json()) };
  } catch {
    return "offline";
  }
}

function tell(state, reason = "") {
  const count = unsent();
  document.dispatchEvent(new CustomEvent("answers", { detail: { state, count, reason } }));
}

// What a page says about answers that wait on the tablet, or were not taken.
export function answerText(name) {
  return document.querySelector(`[data-text-${name}]`).content.textContent.trim();
}

export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
