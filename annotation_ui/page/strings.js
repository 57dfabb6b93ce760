// The words of the page in the language that is set; each language is a file of its own, which comes when it is needed.

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
 * A text of the declaration in the language that is set.
 * @param {import("./types").Text | undefined} text
 */
export const said = (text) => text?.[language] ?? text?.en ?? "";

/**
 * Sets the language, and the words of all elements that name theirs.
 * @param {Language} to
 */
export async function setLanguage(to) {
  const { WORDS } = await (to === "zh" ? import("./words_zh.js") : import("./words_en.js"));
  words = WORDS;
  language = to;
  document.documentElement.lang = to === "zh" ? "zh-CN" : "en";
  document.title = t("title");
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-t], [data-t-label]"))) {
    const { t: text, tLabel: label } = element.dataset;
    if (text) element.textContent = t(text);
    if (label) element.title = element.ariaLabel = t(label);
  }
}
