// Fruits to grade one after the other. All pictures are there from the start, and answers are kept
// on the tablet until they are sent, so that a lost connection stops nobody. Where no answer is told
// at once, the newest can be taken back for a while.
import { answerText, isKept, keepAnswer, unsent } from "./answers.js";

const BLIND_MS = 500; // a second tap that follows at once was meant for what was there before
const TAKE_BACK_MS = 10000;
const WATCH_MS = 4000;

export function startSheet(sheet) {
  const asked = [...sheet.querySelectorAll("[data-question]")];
  const questions = asked.filter((page) => !isKept(page.querySelector("form[data-answer]")?.action));
  for (const page of asked) page.hidden = true;
  const last = sheet.querySelector("[data-last]"); // shown while the last answer can be taken back
  const pages = last ? [...questions, last] : questions;
  const status = sheet.querySelector("[data-answers-status]");
  const undo = sheet.querySelector("[data-take-back]");
  let at = 0;
  let shown = performance.now();
  let newest = null; // the answer that can be taken back
  let over = 0;
  let isRefused = false;
  const watching = sheet.dataset.watch ? watch(sheet.dataset.watch) : 0;

  function show(place) {
    at = place;
    pages.forEach((page, number) => { page.hidden = number !== place; });
    shown = performance.now();
    window.scrollTo(0, 0);
    if (pages[place]) closeEyes(pages[place]);
  }

  // The focus was on what is hidden now: who types or listens goes on at the heading.
  function goTo(place) {
    show(place);
    pages[place]?.querySelector("h1").focus({ preventScroll: true });
  }

  function say(state, count) {
    const kept = (state === "offline" || state === "login") && count > 0;
    if (isRefused && !kept) return; // that stays to be read
    status.hidden = !kept && (at < questions.length || newest !== null);
    status.classList.toggle("warning", kept);
    status.textContent = kept ? answerText(state).replace("{count}", count) : answerText("sending");
  }

  document.addEventListener("answers", (event) => {
    say(event.detail.state, event.detail.count);
    // All were answered before the page was loaded again: where to go, the server says once it knows.
    if (asked.length && !questions.length && !event.detail.count) window.location.reload();
  });

  for (const form of sheet.querySelectorAll("form[data-answer]")) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const fields = Object.fromEntries(new FormData(form, event.submitter));
      fields.seconds = ((performance.now() - shown) / 1000).toFixed(2);
      const isLast = at + 1 >= questions.length;
      const answer = give(form.action, fields);
      const reply = await answer.sent;
      if (!reply.ok) refuse(reply.error);
      else if (isLast) window.location.assign(reply.location);
    });
  }

  function give(address, fields) {
    settle();
    const answer = keepAnswer(address, fields, undo ? TAKE_BACK_MS : 0);
    if (undo) offer(answer, fields.grade);
    goTo(at + 1);
    if (at >= questions.length) say(unsent() ? "sending" : "sent", unsent());
    return answer;
  }

  function offer(answer, grade) {
    newest = answer;
    undo.querySelector("[data-given]").textContent = grade;
    undo.hidden = false;
    over = setTimeout(settle, TAKE_BACK_MS);
  }

  // What was given stays.
  function settle() {
    clearTimeout(over);
    const answer = newest;
    newest = null;
    if (undo) undo.hidden = true;
    answer?.letGo();
  }

  undo?.addEventListener("click", () => {
    const isBack = newest?.takeBack();
    if (isBack) newest = null;
    settle();
    if (isBack) goTo(at - 1);
  });
  last?.querySelector("[data-finish]").addEventListener("click", settle);

  function refuse(reason) {
    isRefused = true;
    clearInterval(watching); // or nobody reads this
    status.hidden = false;
    status.classList.add("warning");
    status.textContent = reason || answerText("refused");
    const results = sheet.querySelector("[data-results]");
    if (results) results.hidden = false;
  }

  show(0);
}

// For a moment nothing of a page can be tapped.
function closeEyes(page) {
  const buttons = page.querySelectorAll(".bar button");
  for (const button of buttons) button.disabled = true;
  setTimeout(() => { for (const button of buttons) button.disabled = false; }, BLIND_MS);
}

// Goes on to where the server leads once the session is over; what is lost on the way is asked again.
function watch(address) {
  return setInterval(async () => {
    const reply = await fetch(address, { signal: AbortSignal.timeout(WATCH_MS) }).catch(() => null);
    const goal = reply?.headers.get("hx-redirect");
    if (goal) window.location.assign(goal);
  }, WATCH_MS);
}
