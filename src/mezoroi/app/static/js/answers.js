// Answers given on this tablet: kept in it until the server has them, sent again by themselves.
// Only the answers are kept, with the user's number; no key and no password.
const STORE = "mezoroi-answers";
const AGAIN_MS = 3000;
const FINAL = [200, 404, 422]; // taken, or never to be taken
const waiting = new Map(); // key -> who is to be told once it is sent
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
  write([...read(), { key, user: mine(), address, fields, at: Date.now() }]);
  const sent = new Promise((resolve) => { waiting.set(key, resolve); });
  send();
  return sent;
}

export function unsent() {
  return read().filter((entry) => entry.user === mine()).length;
}

export function startAnswers() {
  window.addEventListener("online", send);
  if (unsent()) send();
}

async function send() {
  if (busy || !mine()) return;
  busy = true;
  clearTimeout(timer);
  tell("sending");
  for (;;) {
    const entry = read().find((each) => each.user === mine());
    if (!entry) break;
    const reply = await post(entry);
    if (typeof reply === "string") {
      timer = setTimeout(send, AGAIN_MS);
      busy = false;
      tell(reply);
      return;
    }
    write(read().filter((each) => each.key !== entry.key));
    const resolve = waiting.get(entry.key);
    if (resolve) resolve(reply);
    else if (!reply.ok) tell("refused", reply.error); // given on a page that was left
    waiting.delete(entry.key);
  }
  busy = false;
  tell("sent");
}

// The server's reply, or why the answer must be sent again: "offline" or "login".
async function post(entry) {
  const content = new URLSearchParams(entry.fields);
  content.set("key", entry.key);
  content.set("waited", Math.max(0, (Date.now() - entry.at) / 1000).toFixed(1));
  try {
    const reply = await fetch(entry.address, {
      method: "POST",
      body: content,
      headers: { accept: "application/json", "x-mezoroi-user": entry.user },
    });
    if (reply.status === 401 || reply.status === 403) return "login";
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
