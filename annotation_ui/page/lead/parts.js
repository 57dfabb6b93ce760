// What the views are built of: panels, tables, bars, charts, buttons.

import { $, make, open } from "../dom.js";
import { counted, moment, t } from "./strings.js";

const SVG = "http://www.w3.org/2000/svg";

/**
 * A part of the page with a heading.
 * @param {string} title
 * @param {...(Node | string | null)} children
 */
export const panel = (title, ...children) => make("section", { className: "panel" }, make("h2", { textContent: title }), ...children);

/** @param {string} text */
export const note = (text) => make("p", { className: "note", textContent: text });

/** @param {Element | null | undefined} element */
export function focusOn(element) {
  if (element instanceof HTMLElement) element.focus();
}

/** @param {number | null} at milliseconds since 1970 */
export const when = (at) => make("time", { textContent: moment(at) });

/**
 * @param {string} text
 * @param {() => void} act
 * @param {string} [className]
 */
export function button(text, act, className = "") {
  const made = make("button", { type: "button", textContent: text, className });
  made.addEventListener("click", act);
  return made;
}

/**
 * @param {string} label
 * @param {string[][]} options value and text
 * @param {string} value
 * @param {string} name
 */
export function choice(label, options, value, name) {
  const select = make("select", { name }, ...options.map(([key, text]) => make("option", { value: key, textContent: text, selected: key === value })));
  return { select, label: make("label", {}, make("span", { textContent: label }), select) };
}

/**
 * A table whose first column names the row; it scrolls by itself where it is too wide.
 * @param {string} caption
 * @param {(string | Node)[]} heads
 * @param {(string | Node)[][]} rows
 */
export function table(caption, heads, rows) {
  const made = make("table", {}, make("caption", { className: "unseen", textContent: caption }),
    make("thead", {}, make("tr", {}, ...heads.map((head) => cell("th", head, { scope: "col" })))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((value, n) => (n ? cell("td", value) : cell("th", value, { scope: "row" })))))));
  return make("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: caption }, made);
}

/** @param {"th" | "td"} tag @param {string | Node} value @param {Record<string, string>} [properties] */
const cell = (tag, value, properties = {}) => make(tag, properties, value);

/** @param {string} tag @param {Record<string, string | number>} attributes @param {...Node} children */
function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/**
 * A bar whose number stands beside it, and which is therefore hidden from screen readers.
 * @param {number} share 0 to 1
 * @param {string} [kind]
 */
export const bar = (share, kind = "") => svg("svg", { class: `bar ${kind}`, "aria-hidden": "true" },
  svg("rect", { class: "ground", width: "100%", height: "100%", rx: 3 }),
  svg("rect", { class: "fill", width: `${100 * Math.min(1, Math.max(0, share))}%`, height: "100%", rx: 3 }));

/**
 * A value on the scale from 0 to 1, with its interval; the numbers stand beside it.
 * @param {import("./types").Coefficient} coefficient
 * @param {number[]} marks
 */
export function scale({ value, low, high }, marks) {
  /** @param {number} x */
  const at = (x) => `${100 * Math.min(1, Math.max(0, x))}%`;
  const from = Math.max(0, low ?? value), to = Math.min(1, high ?? value);
  return svg("svg", { class: "scale", "aria-hidden": "true" }, svg("rect", { class: "ground", y: 9, width: "100%", height: 6, rx: 3 }),
    ...marks.map((mark) => svg("line", { x1: at(mark), x2: at(mark), y1: 4, y2: 20 })),
    svg("rect", { class: "fill", x: at(from), y: 9, width: `${100 * Math.max(0.004, to - from)}%`, height: 6 }),
    svg("circle", { cx: at(value), cy: 12, r: 6 }));
}

/**
 * A chart of counts over time, with its content in words and as a table.
 * @param {string} title
 * @param {string} words
 * @param {{label: string, count: number}[]} bars
 * @param {number} every how many bars apart the axis is labelled
 */
export function chart(title, words, bars, every) {
  const most = Math.max(1, ...bars.map(({ count }) => count)), wide = 100 / bars.length;
  const drawn = bars.map(({ label, count }, n) => svg("rect", {
    class: "fill", x: `${n * wide + 0.1 * wide}%`, width: `${0.8 * wide}%`, y: `${100 - (100 * count) / most}%`, height: `${(100 * count) / most}%`,
  }, Object.assign(document.createElementNS(SVG, "title"), { textContent: `${label}: ${counted(count)}` })));
  const ticks = bars.map(({ label }, n) => ({ label, n })).filter(({ n }) => (bars.length - 1 - n) % every === 0);
  const axis = make("div", { className: "axis", ariaHidden: "true" }, ...ticks.map(({ label, n }) => {
    const tick = make("span", { textContent: label });
    tick.style.left = `${(n + 0.5) * wide}%`;
    return tick;
  }));
  const rows = bars.filter(({ count }) => count).map(({ label, count }) => [label, counted(count)]);
  return make("figure", {}, svg("svg", { class: "chart", role: "img", "aria-label": `${title}. ${words}` }, ...drawn), axis,
    make("figcaption", { textContent: words }),
    rows.length ? make("details", {}, make("summary", { textContent: t("as_table") }), table(title, [t("time"), t("votes")], rows)) : null);
}

/** @type {() => HTMLDialogElement} */
export const dialog = () => $("dialog");

/**
 * Fills the dialog and opens it.
 * @param {string} title
 * @param {...(Node | string)} children
 */
export function fill(title, ...children) {
  const close = button("✕", () => dialog().close(), "plain");
  close.ariaLabel = t("close");
  dialog().replaceChildren(make("header", {}, make("h2", { textContent: title }), close), ...children);
  dialog().ariaLabel = title;
  open(dialog());
}
