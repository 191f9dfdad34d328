// Follows a job by server-sent events: what it is at, how far it is, what it tells.
export function startJob(box) {
  const find = (name) => box.querySelector(`[data-${name}]`);
  const source = new EventSource(`/jobs/${box.dataset.job}/events`);
  source.addEventListener("job", (event) => {
    const job = JSON.parse(event.data);
    find("step").textContent = job.step;
    const bar = find("progress");
    if (job.total) bar.value = 100 * job.done / job.total;
    else bar.removeAttribute("value");
    const log = find("log");
    if (log && log.textContent !== job.log) {
      log.textContent = job.log;
      log.scrollTop = log.scrollHeight;
    }
    if (job.is_over) {
      source.close();
      window.location.reload();
    }
  });
  window.addEventListener("pagehide", () => source.close());
}
