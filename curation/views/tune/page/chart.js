// One threshold: its histogram, the line at the threshold, the slider under it and the number beside it.

import { make, short, counted, some, SIGNS } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
// In per cent of the chart's width: the axis lies between these, the bins beyond its ends outside.
const LEFT = 4, RIGHT = 96, END = 2.5;

export class Chart {
  constructor(threshold, predicate, moved, taken) {
    this.threshold = threshold;
    // Among whole numbers the line stands after the last value that passes, not through it.
    this.shift = threshold.whole && ["<=", ">"].includes(threshold.operator) ? 1 : 0;
    this.value = threshold.value;
    const name = `${predicate}: ${threshold.column} ${SIGNS[threshold.operator]}`;
    this.number = make("input", { type: "number", step: "any", className: "number", "aria-label": name });
    this.slider = make("input", { type: "range", min: threshold.low - this.shift, max: threshold.high - this.shift,
      step: "any", "aria-label": `${name}, slider` });
    this.back = make("button", { className: "plain", textContent: `back to ${short(threshold.value)}`, hidden: true });
    this.facts = make("span", { className: "facts" });
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("preserveAspectRatio", "none");
    this.svg.setAttribute("viewBox", "0 0 100 100");
    this.svg.setAttribute("role", "img");
    this.line = make("div", { className: "line" });
    this.saved = make("div", { className: "savedline", title: "saved in the recipe" });
    this.far = make("span", { className: "far", ...this.beyond(threshold.value) });
    this.empty = make("p", { className: "empty", hidden: true });
    this.element = make("div", { className: "threshold" },
      make("div", { className: "head" },
        make("label", {}, make("code", { textContent: threshold.column }), ` ${SIGNS[threshold.operator]} `, this.number),
        this.back, this.facts),
      make("div", { className: "chart" }, this.svg, this.saved, this.line, this.far, this.empty, this.slider),
      make("div", { className: "ticks", ariaHidden: "true" }, ...this.ticks()));
    this.place(this.saved, threshold.value);
    this.listen(moved, taken);
    this.show(threshold.value);
  }

  listen(moved, taken) {
    const set = (value) => {
      if (!Number.isFinite(value) || value === this.value) return;
      this.show(value);
      moved(value);
    };
    this.slider.addEventListener("input", () => set(this.rounded(Number(this.slider.value))));
    this.slider.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
      if (!steps || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      // From outside of the axis the first step leads to its end.
      const { min, max } = this.slider, from = Math.min(Math.max(this.value, Number(min)), Number(max));
      set(this.rounded(from === this.value ? this.value + steps * this.threshold.step : from));
    });
    this.number.addEventListener("input", () => {
      if (this.number.value.trim() !== "") set(this.number.valueAsNumber);
    });
    this.number.addEventListener("blur", () => { this.number.value = String(this.value); });
    this.back.addEventListener("click", () => { set(this.threshold.value); this.slider.focus(); });
    for (const input of [this.slider, this.number]) input.addEventListener("focus", taken);
  }

  rounded(value) {
    const { step } = this.threshold;
    return Number((Math.round(value / step) * step).toPrecision(12));
  }

  percent(value) {
    const { low, high } = this.threshold;
    const at = (value + this.shift - low) / (high - low);
    return at < 0 ? LEFT - 0.75 : at > 1 ? RIGHT + 0.75 : LEFT + at * (RIGHT - LEFT);
  }

  // What is said at the end of the axis of a saved threshold that lies far outside.
  beyond(value) {
    const { low, high } = this.threshold, at = value + this.shift;
    const text = at < low ? `← saved: ${short(value)}` : at > high ? `saved: ${short(value)} →` : "";
    return { textContent: text, hidden: text === "", style: at < low ? "left: 0" : "right: 0" };
  }

  place(line, value) {
    line.style.left = `${this.percent(value)}%`;
  }

  show(value) {
    this.value = value;
    if (document.activeElement !== this.number) this.number.value = String(value);
    this.slider.value = value;
    this.slider.setAttribute("aria-valuetext", short(value));
    this.place(this.line, value);
    const isMoved = value !== this.threshold.value;
    this.back.hidden = !isMoved;
    this.saved.hidden = !isMoved;
  }

  ticks() {
    const { low, high, whole } = this.threshold;
    const rough = (high - low) / 6, power = 10 ** Math.floor(Math.log10(rough));
    let step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
    if (whole) step = Math.max(1, step);
    const middle = whole && high - low === this.threshold.bins ? 0.5 : 0;
    const ticks = [];
    for (let n = Math.ceil(low / step - 1e-9); n * step <= high - middle + step * 1e-9; n++) {
      const tick = make("span", { textContent: short(n * step || 0) });
      tick.style.left = `${this.percent(n * step + middle - this.shift)}%`;
      ticks.push(tick);
    }
    return ticks;
  }

  draw(histogram) {
    const { low, high, bins, column } = this.threshold;
    const totals = histogram.passing.map((n, i) => n + histogram.failing[i]);
    const most = Math.max(...totals), all = totals.reduce((a, b) => a + b, 0);
    const width = (RIGHT - LEFT) / bins;
    const bars = document.createDocumentFragment();
    totals.forEach((total, i) => {
      if (!total) return;
      const [x, wide] = i === 0 ? [0, END] : i > bins ? [100 - END, END] : [LEFT + (i - 1) * width, width];
      const from = low + (i - 1) * (high - low) / bins;
      const range = i === 0 ? `below ${short(low)}` : i > bins ? `${short(high)} and above`
        : `${short(from)} to ${short(from + (high - low) / bins)}`;
      const group = document.createElementNS(SVG, "g");
      const title = document.createElementNS(SVG, "title");
      title.textContent = `${column} ${range}: ${counted(histogram.passing[i])} pass, ${counted(histogram.failing[i])} do not`;
      group.append(title);
      const height = Math.max(1.5, 96 * Math.sqrt(total / most));
      const passing = height * histogram.passing[i] / total;
      group.append(rect("fail", x, wide, 100 - height, Math.max(0, height - passing)), rect("pass", x, wide, 100 - passing, passing));
      bars.append(group);
    });
    this.svg.replaceChildren(bars);
    this.svg.setAttribute("aria-label", `Histogram of ${column}: ${some(all)}`);
    this.empty.hidden = all > 0;
    this.empty.textContent = histogram.missing
      ? `Of ${some(histogram.missing)} here none has a value of ${column} yet; run curate score.`
      : "No image gets here.";
    const pass = histogram.passing.reduce((a, b) => a + b, 0);
    this.facts.textContent = all ? `${counted(pass)} of ${counted(all)} on the passing side`
      + (histogram.missing ? `, ${counted(histogram.missing)} without a value` : "") : "";
  }
}

function rect(kind, x, width, y, height) {
  const bar = document.createElementNS(SVG, "rect");
  for (const [name, value] of Object.entries({ x: x + width * 0.06, width: width * 0.88, y, height })) bar.setAttribute(name, value);
  bar.setAttribute("class", kind);
  return bar;
}
