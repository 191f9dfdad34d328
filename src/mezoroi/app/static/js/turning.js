// A surface that goes once around the fruit, turned with a slider.
export function startTurning(figure) {
  const picture = figure.querySelector("img");
  const slider = figure.querySelector("input");
  const window_ = figure.querySelector("[data-window]");
  window_.style.setProperty("--surface", `url("${picture.getAttribute("src")}")`);
  const turn = () => window_.style.setProperty("--turn", `${slider.value}%`);
  slider.addEventListener("input", turn);
  turn();
}
