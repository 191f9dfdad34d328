// A page of somebody who is no longer the one logged in on this tablet sends nothing: what is tapped
// there would go out under the other's name. What a page keeps until it is heard says whose it is.
const SAYS_WHOSE = "form[data-upload], form[data-answer]";

export function startOneUser() {
  const { user } = document.body.dataset;
  if (!user) return;
  document.addEventListener("htmx:configRequest", ({ detail }) => { detail.headers["X-Mezoroi-User"] = user; });
  window.addEventListener("pageshow", ({ persisted }) => { if (persisted) window.location.reload(); });
  if (!("BroadcastChannel" in window)) return;
  const notice = document.querySelector("[data-other-user]");
  const pages = new BroadcastChannel("mezoroi-user");
  pages.addEventListener("message", ({ data }) => { notice.hidden = data === user; });
  pages.postMessage(user);
  document.addEventListener("submit", (event) => {
    if (notice.hidden || event.target.matches(SAYS_WHOSE)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    notice.scrollIntoView({ block: "center" });
  }, { capture: true });
}
