// Small helpers for building the page. Text is only ever set as text.

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((c) => c !== null && c !== undefined));
  return element;
}

export const counted = (n) => n.toLocaleString("en");

// A number as short as it can be told from its neighbours.
export function short(value, digits = 6) {
  if (typeof value !== "number") return String(value ?? "–");
  return Number.isInteger(value) ? value.toLocaleString("en", { useGrouping: Math.abs(value) >= 1e5 })
    : String(Number(value.toPrecision(digits)));
}

// "1 image", "2 images".
export const some = (n, word = "image") => `${counted(n)} ${word}${n === 1 ? "" : "s"}`;

// A predicate's number; names such as `constructor` stand for nothing else here.
export const of = (counts, name) => (Object.hasOwn(counts, name) ? counts[name] : 0);

export function difference(n) {
  return n === 0 ? "" : (n > 0 ? "+" : "−") + counted(Math.abs(n));
}

export const SIGNS = { ">=": "≥", "<=": "≤", ">": ">", "<": "<" };
