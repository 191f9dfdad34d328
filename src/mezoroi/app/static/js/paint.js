// Painting a mask on the surface image, and drawing painted masks over it. A layer of bytes per
// grade, at the picture's own size; what is sent are runs of painted pixels, no picture.
const MOST_STEPS = 30;
const SHADE = 0.45;
const FINEST = 0.004; // of the picture's longer side
const COARSEST = 0.06;

function colourOf(grade, root) {
  const input = [...root.querySelectorAll("[name=grade], [data-mask-grade]")]
    .find((each) => (each.value || each.dataset.maskGrade) === grade);
  const holder = input?.closest("[class*=grade-]") ?? input;
  const hex = holder ? getComputedStyle(holder).getPropertyValue("--grade").trim() : "";
  const digits = /^#([0-9a-f]{6})$/i.exec(hex)?.[1] ?? "d55e00";
  return [0, 2, 4].map((at) => parseInt(digits.slice(at, at + 2), 16));
}

export function fillRuns(layer, runs) {
  for (let at = 0; at < runs.length; at += 2) layer.fill(1, runs[at], runs[at] + runs[at + 1]);
}

export function runsOf(layer) {
  const runs = [];
  for (let at = 0; at < layer.length; at += 1) {
    if (!layer[at]) continue;
    const start = at;
    while (at < layer.length && layer[at]) at += 1;
    runs.push(start, at - start);
  }
  return runs;
}

// Draws layers in their colours, with a dark and a light edge that greyscale shows too.
function draw(canvas, layers, colours) {
  const { width, height } = canvas;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const pixels = context.createImageData(width, height);
  const edge = Math.max(1, Math.round(width / 700));
  for (const [grade, layer] of layers) {
    const [red, green, blue] = colours.get(grade);
    for (let at = 0; at < layer.length; at += 1) {
      if (!layer[at]) continue;
      const x = at % width;
      const rim = x < edge || x >= width - edge || !layer[at - edge] || !layer[at + edge]
        || !layer[at - edge * width] || !layer[at + edge * width];
      pixels.data.set(rim ? [255, 255, 255, 255] : [red, green, blue, 255 * SHADE], 4 * at);
    }
  }
  context.putImageData(pixels, 0, 0);
}

export function startPaint(form) {
  const canvas = form.querySelector("[data-canvas]");
  const save = document.querySelector("[data-save-mask]");
  const problem = form.querySelector("[data-problem]");
  const { width, height } = canvas;
  form.querySelector("[data-layers]").style.setProperty("--aspect", width / height);
  const layers = new Map();
  const colours = new Map();
  const given = JSON.parse(form.querySelector("[data-masks]").textContent);
  for (const input of form.querySelectorAll("[name=grade]")) {
    layers.set(input.value, new Uint8Array(width * height));
    colours.set(input.value, colourOf(input.value, form));
    fillRuns(layers.get(input.value), given[input.value] ?? []);
  }
  const past = []; // steps that undo takes back: the layers that one changed, as they were
  let unsaved = false;
  let last = null;
  let waiting = false;
  const cursor = { x: width / 2, y: height / 2 };
  const chosen = (name) => form.querySelector(`[name=${name}]:checked`).value;
  const radius = () => {
    const share = (form.elements.size.value - 1) / 9;
    return Math.max(width, height) * FINEST * (COARSEST / FINEST) ** share;
  };

  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(canvas, layers, colours); });
  }

  function remember(grades) {
    past.push(grades.map((grade) => [grade, runsOf(layers.get(grade))]));
    if (past.length > MOST_STEPS) past.shift();
    save.disabled = false;
    unsaved = true;
  }

  function dab(x, y) {
    const layer = layers.get(chosen("grade"));
    const value = chosen("tool") === "brush" ? 1 : 0;
    const reach = radius();
    for (let row = Math.max(0, Math.ceil(y - reach)); row <= Math.min(height - 1, y + reach); row += 1) {
      const half = Math.sqrt(reach ** 2 - (row - y) ** 2);
      const from = Math.max(0, Math.ceil(x - half));
      const to = Math.min(width - 1, Math.floor(x + half));
      if (to >= from) layer.fill(value, row * width + from, row * width + to + 1);
    }
    redraw();
  }

  function stroke(from, to) {
    const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / (radius() / 2)));
    for (let step = 1; step <= steps; step += 1) {
      dab(from.x + (to.x - from.x) * step / steps, from.y + (to.y - from.y) * step / steps);
    }
  }

  function place(event) {
    const box = canvas.getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width * width, y: (event.clientY - box.top) / box.height * height };
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary) return; // a palm or a second finger
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    remember([chosen("grade")]);
    last = place(event);
    dab(last.x, last.y);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last || !event.isPrimary) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) {
      const here = place(each);
      stroke(last, here);
      last = here;
    }
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { last = null; });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key === " ") {
      remember([chosen("grade")]);
      dab(cursor.x, cursor.y);
    } else if (moves[event.key]) {
      cursor.x = Math.min(width, Math.max(0, cursor.x + moves[event.key][0] * radius()));
      cursor.y = Math.min(height, Math.max(0, cursor.y + moves[event.key][1] * radius()));
      draw(canvas, layers, colours);
      showCursor(canvas, cursor, radius());
    } else return;
    event.preventDefault();
  });
  form.querySelector("[data-undo]").addEventListener("click", () => {
    for (const [grade, runs] of past.pop() ?? []) {
      layers.get(grade).fill(0);
      fillRuns(layers.get(grade), runs);
    }
    redraw();
  });
  form.querySelector("[data-clear]").addEventListener("click", () => {
    remember([...layers.keys()]);
    for (const layer of layers.values()) layer.fill(0);
    redraw();
  });
  window.addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
  const fail = (why) => {
    problem.replaceChildren(form.querySelector(`[data-text-${why}]`).content.cloneNode(true));
    problem.hidden = false;
    save.disabled = false;
  };
  save.addEventListener("click", async () => {
    save.disabled = true;
    const masks = Object.fromEntries([...layers].map(([grade, layer]) => [grade, runsOf(layer)]));
    const body = JSON.stringify({ grading_id: Number(form.dataset.grading), masks });
    const headers = {
      "content-type": "application/json",
      accept: "application/json",
      "x-mezoroi-user": document.body.dataset.user, // another may have logged in meanwhile
    };
    try {
      const answer = await fetch(form.dataset.action, { method: "POST", headers, body });
      if (answer.ok) {
        unsaved = false;
        window.location.assign((await answer.json()).location);
        return;
      }
      fail([401, 403].includes(answer.status) ? "login" : "failed");
    } catch {
      fail("failed");
    }
  });
  redraw();
}

function showCursor(canvas, cursor, radius) {
  const context = canvas.getContext("2d");
  for (const [colour, line] of [["#000", 5], ["#fff", 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = line * canvas.width / 1000;
    context.beginPath();
    context.arc(cursor.x, cursor.y, radius, 0, 2 * Math.PI);
    context.stroke();
  }
}

// A check box on the result page: the masks that experts painted, over the surface.
export function startMaskLayer(box) {
  const canvas = box.closest("[data-viewer]").querySelector("[data-mask-layer]");
  const { width, height } = canvas;
  box.addEventListener("change", async () => {
    canvas.hidden = !box.checked;
    if (!box.checked || canvas.dataset.drawn) return;
    const found = await (await fetch(box.dataset.maskSource, { headers: { accept: "application/json" } })).json();
    const layers = new Map();
    const colours = new Map();
    for (const each of found) {
      for (const [grade, runs] of Object.entries(each.masks)) {
        if (!layers.has(grade)) layers.set(grade, new Uint8Array(width * height));
        colours.set(grade, colourOf(grade, box.closest("[data-viewer]")));
        fillRuns(layers.get(grade), runs);
      }
    }
    draw(canvas, layers, colours);
    canvas.dataset.drawn = "true";
  });
}
