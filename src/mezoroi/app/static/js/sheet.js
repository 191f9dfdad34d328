// Fruits to grade one after the other. All pictures are there from the start, and answers are kept
// on the tablet until they are sent, so that a lost connection stops nobody.
import { answerText, keepAnswer, unsent } from "./answers.js";

export function startSheet(sheet) {
  const questions = [...sheet.querySelectorAll("[data-question]")];
  const status = sheet.querySelector("[data-answers-status]");
  let at = 0;
  let shown = performance.now();

  function show(place) {
    at = place;
    questions.forEach((question, number) => { question.hidden = number !== place; });
    shown = performance.now();
    window.scrollTo(0, 0);
  }

  function say(state, count) {
    const kept = (state === "offline" || state === "login") && count > 0;
    status.hidden = !kept && at < questions.length;
    status.classList.toggle("warning", kept);
    status.textContent = kept ? answerText(state).replace("{count}", count) : answerText("sending");
  }

  document.addEventListener("answers", (event) => say(event.detail.state, event.detail.count));

  for (const form of sheet.querySelectorAll("form[data-answer]")) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const fields = Object.fromEntries(new FormData(form, event.submitter));
      fields.seconds = ((performance.now() - shown) / 1000).toFixed(2);
      const sent = keepAnswer(form.action, fields);
      show(at + 1);
      const isLast = at >= questions.length;
      if (isLast) say(unsent() ? "sending" : "sent", unsent());
      const reply = await sent;
      if (!reply.ok) refuse(reply.error);
      else if (isLast) window.location.assign(reply.location);
    });
  }

  function refuse(reason) {
    status.hidden = false;
    status.classList.add("warning");
    status.textContent = reason || answerText("refused");
  }

  show(0);
}
