// The words of the lead's page in the language that is set, and how numbers and times are written in it.

/** @typedef {import("./types").Language} Language */

/** @type {Language} */
export let language = navigator.language.startsWith("zh") ? "zh" : "en";
/** @type {Record<string, string>} */
let words = {};

/**
 * The words of a key, with values put in.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 */
export const t = (key, values = {}) => (words[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));

/**
 * The words of a name that the server gives; the name itself where it is new.
 * @param {string} group
 * @param {string} name
 */
export const named = (group, name) => words[`${group}_${name}`] ?? name;

/**
 * A text of the declaration in the language that is set.
 * @param {import("./types").Text | undefined} text
 */
export const said = (text) => text?.[language] ?? text?.en ?? "";

const locale = () => (language === "zh" ? "zh-CN" : "en-GB");

/** @param {number} n */
export const counted = (n) => n.toLocaleString(locale());

/**
 * A share from 0 to 1 in per cent; what is not quite all or nothing is not written so.
 * @param {number | null} share
 * @param {number} [digits]
 */
export function percent(share, digits = share && share < 0.0995 ? 1 : 0) {
  if (share === null) return "–";
  const text = (100 * share).toLocaleString(locale(), { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return `${share < 1 && text === "100" ? ">99" : share > 0 && text === "0.0" ? "<0.1" : text}%`;
}

/** @param {number | null} ms */
export const seconds = (ms) => (ms === null ? "–"
  : `${(ms / 1000).toLocaleString(locale(), { minimumFractionDigits: 1, maximumFractionDigits: 1 })}\u00a0s`);

/** @param {number | null} at milliseconds since 1970 */
export const moment = (at) => (at === null ? "–" : new Date(at).toLocaleString(locale(), { dateStyle: "medium", timeStyle: "short" }));

/** @param {number} at milliseconds since 1970 */
export const clock = (at) => new Date(at).toLocaleTimeString(locale());

/** @param {number} at milliseconds since 1970 */
export const day = (at) => new Date(at).toLocaleDateString(locale(), { day: "numeric", month: "short" });

/** @param {number} at milliseconds since 1970 */
export const hour = (at) => new Date(at).toLocaleTimeString(locale(), { hour: "2-digit", minute: "2-digit" });

/**
 * Sets the language, and the words of all elements that name theirs.
 * @param {Language} to
 */
export async function setLanguage(to) {
  const { WORDS } = await (to === "zh" ? import("./words_zh.js") : import("./words_en.js"));
  words = WORDS;
  language = to;
  document.documentElement.lang = to === "zh" ? "zh-CN" : "en";
  /** @type {NodeListOf<HTMLElement>} */
  const elements = document.querySelectorAll("[data-t], [data-t-label]");
  for (const element of elements) {
    const { t: text, tLabel: label } = element.dataset;
    if (text) element.textContent = t(text);
    if (label) element.ariaLabel = t(label);
  }
}
