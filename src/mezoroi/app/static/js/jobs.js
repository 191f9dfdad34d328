// Follows a job by server-sent events: what it is at, how far it is, what it tells.
const AGAIN_MS = 3000;

export function startJob(box) {
  const find = (name) => box.querySelector(`[data-${name}]`);
  let source = null;
  let timer = 0;
  let lost = 0; // connections one after the other; one alone ends by itself now and then

  function follow() {
    source = new EventSource(`/jobs/${box.dataset.job}/events`);
    source.addEventListener("job", (event) => show(JSON.parse(event.data)));
    source.addEventListener("open", () => {
      if (lost > 1) document.dispatchEvent(new CustomEvent("heard"));
      lost = 0;
    });
    source.addEventListener("error", () => {
      lost += 1;
      if (lost > 1) document.dispatchEvent(new CustomEvent("unheard"));
      // A browser gives up at an answer that is no stream, as of a proxy while the server starts anew.
      if (source.readyState === EventSource.CLOSED) timer = setTimeout(follow, AGAIN_MS);
    });
  }

  function show(job) {
    if (!job || job.is_over) {
      source.close();
      window.location.reload();
      return;
    }
    find("step").textContent = job.step;
    const bar = find("progress");
    if (job.total) bar.value = 100 * job.done / job.total;
    else bar.removeAttribute("value");
    const log = find("log");
    if (log && log.textContent !== job.log) {
      log.textContent = job.log;
      log.scrollTop = log.scrollHeight;
    }
  }

  follow();
  window.addEventListener("pagehide", () => {
    clearTimeout(timer);
    source.close();
  });
}
