// The surface with an activation map over it: colour, opacity, contour, zoom, and the bare picture
// while it is held. The map comes as one grey channel, 0 to 255 for a probability of 0 to 1.
import { MAGMA } from "./magma.js";

const HALF = 128;
const MOST_ZOOM = 8;
export const HOLD_MS = 250;
const LEAST_WIDTH = 1024; // of the overlay, so that the 0.5 line is fine over a small picture too

export function startViewer(viewer) {
  const stage = viewer.querySelector("[data-stage]");
  const layers = viewer.querySelector("[data-layers]");
  const canvas = viewer.querySelector("[data-overlay]");
  layers.style.setProperty("--aspect", canvas.width / canvas.height);
  const scale = Math.max(1, LEAST_WIDTH / canvas.width);
  [canvas.width, canvas.height] = [canvas.width, canvas.height].map((side) => Math.round(side * scale));
  startZoom(viewer, stage, layers);
  const chosen = viewer.querySelectorAll("[data-map]");
  if (!chosen.length) return;
  const slider = viewer.querySelector("[data-opacity]");
  const fade = () => { canvas.style.opacity = slider.value / 100; };
  const draw = async () => {
    const picture = viewer.querySelector("[data-map]:checked")?.value || "";
    if (await drawMap(canvas, picture)) viewer.dataset.shown = picture;
  };
  slider.addEventListener("input", fade);
  for (const input of chosen) input.addEventListener("change", draw);
  drawLegend(viewer.querySelector("[data-legend]"));
  fade();
  draw();
}

// False where the map does not come (the network is down, nobody is logged in any more), which leaves
// no other grade's map under its name; and where another was asked for meanwhile.
export async function drawMap(canvas, picture) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  canvas.dataset.asked = picture;
  if (!picture) {
    context.clearRect(0, 0, canvas.width, canvas.height);
    return true;
  }
  const image = new Image();
  image.src = `/pictures/${picture}`;
  const isThere = await image.decode().then(() => true, () => false);
  if (canvas.dataset.asked !== picture) return false;
  const { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  if (!isThere) return false;
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  const pixels = context.getImageData(0, 0, width, height);
  colour(pixels.data, width, height);
  context.putImageData(pixels, 0, 0);
  return true;
}

function colour(data, width, height) {
  const values = new Uint8Array(width * height);
  for (let at = 0; at < values.length; at += 1) values[at] = data[4 * at];
  const reach = Math.max(1, Math.round(Math.min(width, height) / 300));
  for (let at = 0; at < values.length; at += 1) {
    const edge = edgeAt(values, at, width, height, reach);
    const from = 3 * values[at];
    for (let part = 0; part < 3; part += 1) {
      data[4 * at + part] = edge ? (edge === 1 ? 0 : 255) : MAGMA[from + part];
    }
    data[4 * at + 3] = 255;
  }
}

// 1 on the 0.5 line, 2 just outside of it, 0 elsewhere.
function edgeAt(values, at, width, height, reach) {
  const inside = values[at] >= HALF;
  const x = at % width;
  const y = (at - x) / width;
  let found = 0;
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    for (let step = 1; step <= 2 * reach; step += 1) {
      const nx = x + step * dx;
      const ny = y + step * dy;
      if (nx < 0 || ny < 0 || nx >= width || ny >= height) break;
      if ((values[ny * width + nx] >= HALF) !== inside) {
        const kind = step <= reach ? 1 : 2;
        found = found ? Math.min(found, kind) : kind;
        break;
      }
    }
  }
  return found;
}

function drawLegend(canvas) {
  const context = canvas.getContext("2d");
  for (let value = 0; value < 256; value += 1) {
    context.fillStyle = `rgb(${MAGMA.slice(3 * value, 3 * value + 3).join(" ")})`;
    context.fillRect(value, 0, 1, canvas.height);
  }
}

function startZoom(viewer, stage, layers) {
  const view = { scale: 1, x: 0, y: 0 };
  const touching = new Map();
  let hold = 0;

  function apply() {
    view.scale = Math.min(MOST_ZOOM, Math.max(1, view.scale));
    const most = { x: layers.offsetWidth * (view.scale - 1), y: layers.offsetHeight * (view.scale - 1) };
    view.x = Math.min(0, Math.max(-most.x, view.x));
    view.y = Math.min(0, Math.max(-most.y, view.y));
    layers.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
    viewer.dataset.scale = view.scale.toFixed(2);
  }

  function zoom(factor, x, y) {
    const before = view.scale;
    view.scale = Math.min(MOST_ZOOM, Math.max(1, before * factor));
    const ratio = view.scale / before;
    view.x = x - ratio * (x - view.x);
    view.y = y - ratio * (y - view.y);
    apply();
  }

  // From the picture's corner as it lies unzoomed, which is not the stage's where it is narrower.
  function place(x, y) {
    const box = layers.getBoundingClientRect();
    return [x - box.left + view.x, y - box.top + view.y];
  }

  const middle = () => [layers.offsetWidth / 2, layers.offsetHeight / 2];
  const bare = (on) => viewer.classList.toggle("bare", on);
  const letGo = (event) => {
    touching.delete(event.pointerId);
    clearTimeout(hold);
    bare(false);
  };

  for (const button of viewer.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => zoom(button.dataset.zoom > 0 ? 1.6 : 1 / 1.6, ...middle()));
  }
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && view.scale === 1) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 300), ...place(event.clientX, event.clientY));
  }, { passive: false });
  stage.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    if (event.key === "+" || event.key === "-") zoom(event.key === "+" ? 1.6 : 1 / 1.6, ...middle());
    else if (moves[event.key] && view.scale > 1) {
      event.preventDefault();
      view.x += moves[event.key][0];
      view.y += moves[event.key][1];
      apply();
    }
  });
  layers.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    layers.setPointerCapture(event.pointerId);
    touching.set(event.pointerId, [event.clientX, event.clientY]);
    clearTimeout(hold);
    if (touching.size === 1) hold = setTimeout(() => bare(true), HOLD_MS);
  });
  layers.addEventListener("pointermove", (event) => {
    const last = touching.get(event.pointerId);
    if (!last) return;
    const now = [event.clientX, event.clientY];
    const moved = [now[0] - last[0], now[1] - last[1]];
    if (Math.hypot(...moved) > 6) clearTimeout(hold);
    touching.set(event.pointerId, now);
    if (touching.size === 2) pinch(event, last, now);
    else if (view.scale > 1) {
      view.x += moved[0];
      view.y += moved[1];
      apply();
    }
  });
  for (const name of ["pointerup", "pointercancel"]) layers.addEventListener(name, letGo);
  layers.addEventListener("contextmenu", (event) => event.preventDefault());
  // One finger scrolls the page, unless the picture is zoomed or laid bare; two zoom.
  layers.addEventListener("touchmove", (event) => {
    const isOurs = event.touches.length > 1 || view.scale > 1 || viewer.classList.contains("bare");
    if (isOurs && event.cancelable) event.preventDefault();
  }, { passive: false });

  function pinch(event, last, now) {
    const other = [...touching].find(([id]) => id !== event.pointerId)[1];
    const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
    zoom(apart(now) / Math.max(1, apart(last)), ...place((now[0] + other[0]) / 2, (now[1] + other[1]) / 2));
  }
}
