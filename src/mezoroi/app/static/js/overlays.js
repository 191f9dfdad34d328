// Pictures with one activation map over them, without switches: side by side in practice.
import { drawMap } from "./viewer.js";

const LEAST_WIDTH = 640;

export async function startOverlay(canvas) {
  const scale = Math.max(1, LEAST_WIDTH / canvas.width);
  [canvas.width, canvas.height] = [canvas.width, canvas.height].map((side) => Math.round(side * scale));
  if (await drawMap(canvas, canvas.dataset.overlayMap)) canvas.dataset.drawn = "true";
}
