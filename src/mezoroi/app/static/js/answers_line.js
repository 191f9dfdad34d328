// The line of a page about answers that were given on another: those that wait, those not taken.
import { answerText } from "./answers.js";

export function startAnswersLine(line) {
  const hasSheet = document.querySelector("[data-sheet]") !== null; // it says itself what waits
  let refused = 0;
  let reason = "";

  document.addEventListener("answers", (event) => {
    const { state, count } = event.detail;
    const said = [];
    if (state === "refused") {
      refused += 1;
      reason = event.detail.reason || "";
    }
    if (!hasSheet && count > 0 && (state === "offline" || state === "login")) {
      said.push(answerText(state).replace("{count}", count));
    }
    if (refused) {
      said.push(answerText("unheard").replace("{count}", refused).replace("{reason}", reason));
    }
    line.textContent = said.join(" ");
    line.hidden = said.length === 0;
  });
}
