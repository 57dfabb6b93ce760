// Draws the charts of the page. Colours of text and lines follow the page's scheme; on paper it is the light one.
"use strict";
const PAPER = 680; // pixels: the width of an A4 or letter page between its margins
const root = document.documentElement;
root.classList.add("js");
const figures = JSON.parse(document.getElementById("figures").textContent);
const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();

function themed(layout) {
  const axis = { gridcolor: colour("--rule"), linecolor: colour("--rule"), automargin: true };
  const printed = root.dataset.scheme === "light";
  return {
    ...layout,
    ...(printed ? { width: PAPER } : { autosize: true }),
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: colour("--ink") },
    xaxis: { ...axis, ...layout.xaxis },
    yaxis: { ...axis, ...layout.yaxis },
    shapes: (layout.shapes || []).map((s) => ({ ...s, line: { color: colour("--ink"), width: 1.5, dash: "dash" } })),
    hoverlabel: { bgcolor: colour("--paper"), font: { color: colour("--ink") } },
    dragmode: false,
  };
}

function draw(chart) {
  const figure = figures[chart.dataset.figure];
  chart.style.height = `${figure.layout.height}px`;
  Plotly.react(chart, figure.data, themed(figure.layout), { displayModeBar: false, responsive: true });
  chart.dataset.drawn = "";
}

const charts = [...document.querySelectorAll("[data-figure]")];
const redraw = () => charts.filter((c) => "drawn" in c.dataset).forEach(draw);
charts.filter((c) => !c.closest("details:not([open])")).forEach(draw);
for (const details of document.querySelectorAll("details")) {
  details.addEventListener("toggle", () => {
    if (details.open) details.querySelectorAll("[data-figure]").forEach(draw);
  });
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
addEventListener("beforeprint", () => {
  root.dataset.scheme = "light"; // before the page is laid out for paper: so the width cannot be asked for
  redraw();
});
addEventListener("afterprint", () => {
  delete root.dataset.scheme;
  redraw();
});
