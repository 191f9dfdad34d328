// Sends files as soon as they are chosen or dropped, and shows how far it is. More can be chosen
// meanwhile; only when all are sent does the page go on, to the fruit or to the list of several.
import { keepUpload, unsentUploads } from "./uploads.js";

const FOLLOWED_MS = 3000; // a fruit that is not graded by then waits on a page of its own

export function startUpload(form) {
  const find = (name) => form.querySelector(`[data-${name}]`);
  const text = (name) => find(`text-${name}`).innerHTML.trim();
  const [drop, sending, status, progress, problem] =
    ["drop", "sending", "status", "progress", "problem"].map(find);
  let taken = []; // where the fruits are that were sent since this page was opened
  let refused = 0;
  let following = false;

  function show(line, share) {
    sending.hidden = false;
    status.textContent = line;
    if (share === null) progress.removeAttribute("value");
    else progress.value = 100 * share;
  }

  document.addEventListener("uploads", (event) => {
    const { state, share, count } = event.detail;
    const total = taken.length + refused + count;
    if (state === "sending") {
      show(`${text("sending")} … ${total > 1 ? `(${total - count + 1} / ${total})` : ""}`, share);
    } else sending.hidden = true;
  });
  document.addEventListener("upload-refused", (event) => {
    const { name, reason, field } = event.detail; // maybe of an earlier page
    const input = field && form.elements[field];
    if (input) blame(input, name, reason);
    else refuse(`${name}: ${reason || text("failed")}`);
  });

  async function send(file) {
    const fields = [...new FormData(form)].filter(([name]) => name !== "file");
    const location = await keepUpload(form.action, fields, file);
    if (location) taken.push(location);
    if (unsentUploads() || following) return;
    if (taken.length === 1 && !refused) {
      following = true;
      show(text("grading"), null);
      await graded(location);
      following = false;
      if (unsentUploads()) return; // more was chosen meanwhile
    }
    if (!refused) window.location.assign(taken.length > 1 ? "/fruits" : taken[0]);
    else if (taken.length) show(text("sent").replace("{count}", taken.length), 1);
  }

  // The page stays, to tell why.
  function refuse(reason) {
    refused += 1;
    const line = document.createElement("p");
    line.textContent = reason;
    problem.append(line);
    problem.hidden = false;
  }

  // Not the picture is at fault, but what is written about it.
  function blame(input, name, reason) {
    refuse(`${reason} ${text("field").replace("{name}", () => name)}`);
    input.setAttribute("aria-invalid", "true");
    input.addEventListener("input", () => input.removeAttribute("aria-invalid"), { once: true });
    input.closest("details").open = true;
  }

  function sendAll(files, folders = []) {
    if (!files.length && !folders.length) return;
    if (!unsentUploads() && !following) {
      [taken, refused] = [[], 0];
      problem.hidden = true;
      problem.replaceChildren();
    }
    const tooLarge = files.filter((file) => file.size > form.dataset.most);
    for (const file of tooLarge) refuse(`${file.name}: ${text("large")}`);
    for (const folder of folders) refuse(`${folder.name}: ${text("folder")}`);
    for (const file of files) if (!tooLarge.includes(file)) send(file);
  }

  for (const input of form.querySelectorAll("[data-file]")) {
    input.addEventListener("change", () => {
      const files = [...input.files];
      input.value = "";
      sendAll(files);
    });
  }
  for (const name of ["dragenter", "dragover"]) {
    drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  for (const name of ["dragleave", "drop"]) {
    drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.remove("over"); });
  }
  drop.addEventListener("drop", ({ dataTransfer }) => {
    const items = [...dataTransfer.items].filter((item) => item.kind === "file");
    const isFolder = items.map((item) => item.webkitGetAsEntry()?.isDirectory); // the files tell nothing of it
    const files = [...dataTransfer.files];
    sendAll(files.filter((_, place) => !isFolder[place]), files.filter((_, place) => isFolder[place]));
  });
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
