// Entry: finds the widgets of a page and starts them, also in parts that htmx swaps in.
import { startMaskLayer, startPaint } from "./paint.js";
import { startJob } from "./jobs.js";
import { startUpload } from "./upload.js";
import { startUploads } from "./uploads.js";
import { startAnswers } from "./answers.js";
import { startNotices } from "./notices.js";
import { startAnswersLine } from "./answers_line.js";
import { startOneUser } from "./one_user.js";
import { startMaps, startOverlay } from "./overlays.js";
import { startSheet } from "./sheet.js";
import { startTurning } from "./turning.js";
import { startViewer } from "./viewer.js";

const WIDGETS = [
  ["form[data-upload]", startUpload],
  ["[data-viewer]", startViewer],
  ["[data-overlay-map]", startOverlay],
  ["[data-maps]", startMaps],
  ["[data-sheet]", startSheet],
  ["[data-answers-line]", startAnswersLine],
  ["[data-turning]", startTurning],
  ["[data-paint]", startPaint],
  ["[data-mask-source]", startMaskLayer],
  ["[data-job]", startJob],
  ["[data-print]", (button) => button.addEventListener("click", () => window.print())],
];

function startAll(root) {
  for (const [selector, start] of WIDGETS) {
    for (const element of root.querySelectorAll(selector)) {
      if (!element.dataset.started) {
        element.dataset.started = "true";
        start(element);
      }
    }
  }
}

document.documentElement.classList.replace("no-js", "js") || document.documentElement.classList.add("js");
startAll(document);
startNotices(document.querySelector("[data-notices]"));
startOneUser();
startAnswers();
startUploads();
document.addEventListener("htmx:load", (event) => startAll(event.target));
