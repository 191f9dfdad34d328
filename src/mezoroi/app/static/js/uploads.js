// Photos and videos chosen on this tablet: sent one after the other, and kept in it until the server
// has them, so that neither a lost connection nor a page that is left loses one. Each has a key by
// which the server knows an upload that it has taken although its answer was lost.
import { newKey } from "./answers.js";

const STORE = "uploads";
const AGAIN_MS = 3000;
const STALLED_MS = 120000; // a dead connection ends no request by itself for long, and others wait behind it
const STATES = { 0: "offline", 401: "login", 403: "login", 408: "trouble", 429: "full", 503: "full" };
const queue = []; // of this user, in order: { entry, stored }
const unkept = new Set(); // of those, what would be lost with the page
const senders = new Map(); // key -> what is to be told once it is sent
let busy = false;
let timer = 0;

const mine = () => document.body.dataset.user || "";
export const unsentUploads = () => queue.length;

// Keep a file and send it; resolves with where its fruit is, or null where
// it is refused, however long that takes.
export function keepUpload(address, fields, file) {
  const entry = { key: newKey(), user: mine(), address, fields, file };
  const item = { entry, stored: work("readwrite", (store) => store.add(entry)).catch(() => null) };
  queue.push(item);
  unkept.add(item);
  item.stored.then((number) => { if (number !== null) unkept.delete(item); });
  const sent = new Promise((resolve) => { senders.set(entry.key, resolve); });
  send();
  return sent;
}

// What earlier pages could not send is sent by this one.
export async function startUploads() {
  window.addEventListener("online", send);
  window.addEventListener("beforeunload", (event) => { if (unkept.size) event.preventDefault(); });
  const entries = await work("readonly", (store) => store.getAll()).catch(() => []);
  for (const entry of entries) {
    if (entry.user !== mine() || queue.some((item) => item.entry.key === entry.key)) continue;
    queue.push({ entry, stored: Promise.resolve(entry.number) });
  }
  if (queue.length) send();
}

async function send() {
  if (busy || !mine()) return;
  busy = true;
  clearTimeout(timer);
  while (queue.length) {
    const { entry, stored } = queue[0];
    tell("sending", 0);
    const { status, content } = await post(entry);
    const isBroken = status === 0 && !(await isReadable(entry.file));
    const state = whyAgain(status, content);
    if (!isBroken && state) {
      if (status === 500) queue.push(queue.shift()); // if only this one is amiss, others get past
      timer = setTimeout(send, AGAIN_MS);
      busy = false;
      tell(state, null);
      return;
    }
    const number = await stored;
    if (number !== null) await work("readwrite", (store) => store.delete(number)).catch(() => null);
    unkept.delete(queue.shift());
    const isTaken = Boolean(content.location);
    if (!isTaken) announce("upload-refused", { name: entry.file.name, reason: content.error, field: content.field });
    senders.get(entry.key)?.(isTaken ? content.location : null);
    senders.delete(entry.key);
  }
  busy = false;
  tell("sent", null);
}

// Why a file must be sent again, or nothing where the server took it or never will.
function whyAgain(status, { location }) {
  if (status >= 200 && status < 300 && !location) return "offline"; // a network's own login page
  return STATES[status] ?? (status >= 500 ? "trouble" : null);
}

function tell(state, share) {
  announce("uploads", { state, share, count: queue.length });
}

function announce(name, detail) {
  document.dispatchEvent(new CustomEvent(name, { detail }));
}

function post({ key, user, address, fields, file }) {
  const content = new FormData();
  for (const [name, value] of fields) content.append(name, value);
  content.append("file", file, file.name);
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("POST", address);
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("Idempotency-Key", key);
    request.setRequestHeader("X-Mezoroi-User", user); // another may have logged in meanwhile
    let stall = 0;
    const goesOn = () => {
      clearTimeout(stall);
      stall = setTimeout(() => request.abort(), STALLED_MS);
    };
    request.upload.addEventListener("progress", (event) => {
      goesOn();
      if (event.lengthComputable) tell("sending", event.loaded / event.total);
    });
    request.addEventListener("load", () => resolve({ status: request.status, content: parse(request.responseText) }));
    for (const name of ["error", "abort"]) request.addEventListener(name, () => resolve({ status: 0, content: {} }));
    request.addEventListener("loadend", () => clearTimeout(stall));
    goesOn();
    request.send(content);
  });
}

// A file may have gone from the tablet since it was chosen: then no connection brings it back.
async function isReadable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

let opened = null;

function work(mode, ask) {
  opened ??= new Promise((resolve, reject) => {
    const asked = indexedDB.open("mezoroi", 1);
    asked.onupgradeneeded = () => {
      asked.result.createObjectStore(STORE, { keyPath: "number", autoIncrement: true });
    };
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
  return opened.then((database) => new Promise((resolve, reject) => {
    const task = database.transaction(STORE, mode);
    const request = ask(task.objectStore(STORE));
    task.oncomplete = () => resolve(request.result);
    task.onerror = task.onabort = () => reject(task.error);
  }));
}
