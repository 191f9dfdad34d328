// What every page tells above its content: pictures that wait on this tablet, and those refused.
export function startNotices(box) {
  if (!box) return;
  const text = (name) => box.querySelector(`[data-text-${name}]`).innerHTML.trim();
  const [waiting, refused] = ["waiting", "refused"].map((name) => box.querySelector(`[data-${name}]`));
  const isUpload = document.querySelector("form[data-upload]") !== null; // which shows the sending

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
}
