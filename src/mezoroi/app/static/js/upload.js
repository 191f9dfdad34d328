// Sends files as soon as they are chosen or dropped, one after the other, and shows how far it is.
// What the server cannot take now, or what has no network, is kept and sent again.
const AGAIN_MS = 3000;

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
    let location = null;
    for (const [place, file] of files.entries()) {
      const count = files.length > 1 ? ` (${place + 1} / ${files.length})` : "";
      try {
        location = await sendUntilTaken(form, file, (line, share) => show(line + count, share), text);
      } catch (error) {
        fail(`${files.length > 1 ? `${file.name}: ` : ""}${error.message || text("failed")}`);
        return;
      }
    }
    if (location) window.location.assign(files.length > 1 ? "/fruits" : location);
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

async function sendUntilTaken(form, file, show, text) {
  for (;;) {
    show(`${text("sending")} …`, 0);
    const answer = await send(form, file, (share) => show(`${text("sending")} …`, share));
    if (answer.status === 201) return answer.content.location;
    if (answer.status === 401) window.location.assign("/login");
    if (answer.status !== 0 && answer.status !== 503) {
      throw new Error(answer.content.error || text("failed"));
    }
    show(answer.status === 503 ? text("waiting") : text("offline"), null);
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

function send(form, file, report) {
  const content = new FormData(form);
  content.delete("file");
  content.append("file", file, file.name);
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "application/json");
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
