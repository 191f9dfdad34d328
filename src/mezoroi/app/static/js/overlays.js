// Activation maps over a fruit without switches, side by side: one strength for all of them, and the
// bare picture while one is held.
import { drawMap, HOLD_MS } from "./viewer.js";

const LEAST_WIDTH = 640;

export async function startOverlay(canvas) {
  const scale = Math.max(1, LEAST_WIDTH / canvas.width);
  [canvas.width, canvas.height] = [canvas.width, canvas.height].map((side) => Math.round(side * scale));
  if (await drawMap(canvas, canvas.dataset.overlayMap)) canvas.dataset.drawn = "true";
}

export function startMaps(maps) {
  const slider = maps.querySelector("[data-opacity]");
  if (!slider) return;
  const fade = () => maps.style.setProperty("--strength", slider.value / 100);
  slider.addEventListener("input", fade);
  fade();
  let hold = 0;
  const letGo = () => {
    clearTimeout(hold);
    maps.classList.remove("bare");
  };
  for (const picture of maps.querySelectorAll("[data-held]")) {
    picture.addEventListener("pointerdown", () => {
      clearTimeout(hold);
      hold = setTimeout(() => maps.classList.add("bare"), HOLD_MS);
    });
    for (const name of ["pointerup", "pointercancel", "pointerleave"]) picture.addEventListener(name, letGo);
    picture.addEventListener("contextmenu", (event) => event.preventDefault());
  }
}
