// Answers given on this tablet: kept in it until the server has them, sent again by themselves.
// Only the answers are kept, with the user's number; no key and no password.
const STORE = "mezoroi-answers";
const AGAIN_MS = 3000;
const REFUSED_AGAIN_MS = 30000; // what is forbidden now may be allowed after another login
const LONGEST_MS = 15000; // a dead connection ends no request by itself for minutes
const FINAL = [200, 404, 422]; // taken, or never to be taken
const waiting = new Map(); // key -> the answer, and who is to be told once it is sent
let busy = false;
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

// Keep an answer and send it; resolves with the server's reply, however long that takes.
export function keepAnswer(address, fields) {
  const key = newKey();
  const entry = { key, user: mine(), address, fields, at: Date.now() };
  write([...read(), entry]);
  const sent = new Promise((resolve) => { waiting.set(key, { entry, resolve }); });
  send();
  return sent;
}

export function unsent() {
  return read().filter((entry) => entry.user === mine()).length;
}

export function startAnswers() {
  window.addEventListener("online", send);
  window.addEventListener("storage", (event) => { if (event.key === STORE && gone()) send(); });
  if (unsent()) send();
}

async function send() {
  if (busy || !mine()) return;
  busy = true;
  clearTimeout(timer);
  tell("sending");
  const forbidden = new Set(); // they stay on the tablet, and keep no other from being sent
  for (;;) {
    const entry = read().find((each) => each.user === mine() && !forbidden.has(each.key)) || gone();
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
  if (forbidden.size) timer = setTimeout(send, REFUSED_AGAIN_MS);
  tell(forbidden.size ? "login" : "sent");
}

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
