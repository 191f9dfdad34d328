// What every page tells above its content: pictures that wait on this tablet, those refused, and
// taps and questions of the page that the server did not hear.
const AGAIN_MS = 3000;

export function startNotices(box) {
  if (!box) return;
  const text = (name) => box.querySelector(`[data-text-${name}]`).innerHTML.trim();
  const [waiting, refused, unheard] =
    ["waiting", "refused", "unheard"].map((name) => box.querySelector(`[data-${name}]`));
  const isUpload = document.querySelector("form[data-upload]") !== null; // which shows the sending
  const isTap = ({ requestConfig }) => requestConfig.verb !== "get";
  let isTapUnheard = false; // told until a tap is heard, however often the page asks meanwhile

  document.addEventListener("uploads", (event) => {
    const { state, count } = event.detail;
    waiting.hidden = !count || (state === "sending" && isUpload);
    if (!waiting.hidden) waiting.textContent = text(state).replace("{count}", count);
  });
  document.addEventListener("upload-refused", (event) => {
    if (isUpload) return;
    const { name, reason } = event.detail;
    refused.textContent = `${name}: ${reason || text("refused")}`;
    refused.hidden = false;
  });
  for (const name of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) {
    document.addEventListener(name, ({ target, detail }) => {
      const { status } = detail.xhr;
      if (status === 401) return; // the answer leads to the login
      if (isTap(detail) || !isTapUnheard) {
        isTapUnheard = isTap(detail);
        unheard.textContent = text(`${isTapUnheard ? "tap" : "look"}-${status ? "failed" : "offline"}`);
        unheard.hidden = false;
      }
      if (!target.matches("[data-again]")) return;
      setTimeout(() => target.dispatchEvent(new CustomEvent("again")), AGAIN_MS);
    });
  }
  document.addEventListener("unheard", () => {
    if (!isTapUnheard) [unheard.textContent, unheard.hidden] = [text("look-offline"), false];
  });
  document.addEventListener("heard", () => { unheard.hidden = !isTapUnheard; });
  document.addEventListener("htmx:afterRequest", ({ detail }) => {
    if (!detail.successful || (isTapUnheard && !isTap(detail))) return;
    isTapUnheard = false;
    unheard.hidden = true;
  });
}
