// Sends files as soon as they are chosen or dropped, one after the other, and shows how far it is.
// What the server cannot take now, or what has no network, is kept and sent again, with the key by
// which the server knows an upload that it has taken although its answer was lost.
const AGAIN_MS = 3000;
const FOLLOWED_MS = 3000; // a fruit that is not graded by then waits on a page of its own

export function startUpload(form) {
  const find = (name) => form.querySelector(`[data-${name}]`);
  const text = (name) => find(`text-${name}`).innerHTML.trim();
  const [drop, sending, status, progress, problem] =
    ["drop", "sending", "status", "progress", "problem"].map(find);

  function show(line, share) {
    sending.hidden = false;
    problem.hidden = true;
    status.textContent = line;
    if (share === null) progress.removeAttribute("value");
    else progress.value = 100 * share;
  }

  function fail(line) {
    sending.hidden = true;
    problem.hidden = false;
    problem.textContent = line;
  }

  async function sendAll(files) {
    const keys = files.map(newKey);
    let location = null;
    for (const [place, file] of files.entries()) {
      const count = files.length > 1 ? ` (${place + 1} / ${files.length})` : "";
      try {
        location = await sendUntilTaken(form, file, keys[place], (line, share) => show(line + count, share), text);
      } catch (error) {
        fail(`${files.length > 1 ? `${file.name}: ` : ""}${error.message || text("failed")}`);
        return;
      }
    }
    if (!location) return;
    if (files.length === 1) {
      show(text("grading"), null);
      await graded(location);
    }
    window.location.assign(files.length > 1 ? "/fruits" : location);
  }

  for (const input of form.querySelectorAll("[data-file]")) {
    input.addEventListener("change", () => {
      const files = [...input.files];
      input.value = "";
      if (files.length) sendAll(files);
    });
  }
  for (const name of ["dragenter", "dragover"]) {
    drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  for (const name of ["dragleave", "drop"]) {
    drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.remove("over"); });
  }
  drop.addEventListener("drop", (event) => {
    const files = [...event.dataTransfer.files];
    if (files.length) sendAll(files);
  });
}

async function sendUntilTaken(form, file, key, show, text) {
  for (;;) {
    show(`${text("sending")} …`, 0);
    const answer = await send(form, file, key, (share) => show(`${text("sending")} …`, share));
    if (answer.status === 201 || answer.status === 200) return answer.content.location;
    if (answer.status === 401) window.location.assign("/login");
    if (answer.status !== 0 && answer.status !== 503) {
      throw new Error(answer.content.error || text("failed"));
    }
    show(answer.status === 503 ? text("waiting") : text("offline"), null);
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

// Until a fruit is graded or failed: most are while a page that says so would load.
async function graded(location) {
  const until = Date.now() + FOLLOWED_MS;
  while (Date.now() < until) {
    try {
      const answer = await fetch(`${location}/progress`, { redirect: "manual" });
      if (answer.status !== 200) return;
    } catch {
      return;
    }
  }
}

function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // a page that came without HTTPS
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function send(form, file, key, report) {
  const content = new FormData(form);
  content.delete("file");
  content.append("file", file, file.name);
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("Idempotency-Key", key);
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) report(event.loaded / event.total);
    });
    request.addEventListener("load", () => resolve({ status: request.status, content: parse(request.responseText) }));
    request.addEventListener("error", () => resolve({ status: 0, content: {} }));
    request.send(content);
  });
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
