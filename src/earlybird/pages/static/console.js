// The plot of one campaign: drawn once from its history, then moved on by server-sent events.
"use strict";
addEventListener("DOMContentLoaded", async () => {
  const place = document.getElementById("plot"), note = document.getElementById("plot-note");
  const address = `/console/campaigns/${place.dataset.campaign}`;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const answer = await fetch(`${address}/curve.json`);
  if (!answer.ok) { note.textContent = "The history could not be read. Reload the page to try again."; return; }
  const history = await answer.json();
  const steps = new Map();
  const at = (time) => { if (!steps.has(time)) steps.set(time, [null, null]); return steps.get(time); };
  for (const [time, count] of history.came) at(time)[0] = count;
  for (const [time, count] of history.granted) at(time)[1] = count;
  const data = [[], [], []];
  let came = 0, granted = 0;
  for (const time of [...steps.keys()].sort((a, b) => a - b)) {
    came = steps.get(time)[0] ?? came; granted = steps.get(time)[1] ?? granted;
    data[0].push(time); data[1].push(came); data[2].push(granted);
  }
  const axis = () => ({ stroke: colour("--ink"), grid: { stroke: colour("--line") }, ticks: { stroke: colour("--line") } });
  const plot = new uPlot({
    width: place.clientWidth, height: 280, axes: [axis(), axis()],
    series: [{}, { label: "First logins", stroke: colour("--accent"), width: 2 }, { label: "Vouchers", stroke: colour("--good"), width: 2, dash: [6, 3] }],
  }, data, place);
  addEventListener("resize", () => plot.setSize({ width: place.clientWidth, height: 280 }));
  if (!history.is_live) return;
  const show = (figures) => {
    for (const one of document.querySelectorAll("[data-figure]")) {
      if (figures[one.dataset.figure] !== undefined) one.textContent = figures[one.dataset.figure].toLocaleString("en");
    }
    data[0].push(figures.at); data[1].push(figures.came); data[2].push(figures.granted);
    if (data[0].length > 2000) for (const line of data) line.splice(0, 500);
    plot.setData(data);
    note.textContent = "Live";
  };
  const source = new EventSource(`${address}/live`);
  source.onmessage = (event) => show(JSON.parse(event.data));
  source.addEventListener("lost", () => { note.textContent = "The system does not answer. It is asked again each second."; });
  source.addEventListener("ended", () => { source.close(); location.assign(`/log-in?next=${location.pathname}&ended=1`); });
  source.onerror = () => { note.textContent = "The connection is lost. It is tried again."; };
  addEventListener("pagehide", () => source.close());
});
