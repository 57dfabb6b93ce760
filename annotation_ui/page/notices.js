// Tells what happened: in one calm line, loudly where nothing can be stored, and to screen readers.

import { $, make } from "./dom.js";
import { t } from "./strings.js";

const STAYS = 10000;
/** @type {number | undefined} */
let hiding;

/**
 * For screen readers alone.
 * @param {string} text
 */
export function say(text) {
  $("live").textContent = text;
}

/**
 * A calm line, which goes by itself unless it offers something.
 * @param {string} text
 * @param {{label: string, act: () => void}[]} [offers]
 */
export function notice(text, offers = []) {
  const bar = $("notice");
  clearTimeout(hiding);
  const hide = () => { bar.hidden = true; };
  const buttons = offers.map(({ label, act }) => {
    const button = make("button", { type: "button", textContent: label });
    button.addEventListener("click", () => {
      hide();
      act();
    });
    return button;
  });
  const close = make("button", { type: "button", className: "plain", textContent: "✕", ariaLabel: t("close") });
  close.addEventListener("click", hide);
  bar.replaceChildren(make("span", { textContent: text }), ...buttons, close);
  bar.hidden = false;
  delete bar.dataset.hint;
  if (!offers.length) hiding = setTimeout(hide, STAYS);
}

/**
 * A calm line about the last press of a key or a button, which is out of date with the next one.
 * @param {string} text
 */
export function hint(text) {
  notice(text);
  $("notice").dataset.hint = "yes";
}

/** Takes a hint away, since the person has gone on. */
export function goOn() {
  if ($("notice").dataset.hint) $("notice").hidden = true;
}

/**
 * What keeps the page from storing anything; null when it is over.
 * @param {string | null} key
 * @param {boolean} [loud]
 */
export function trouble(key, loud = false) {
  const bar = $("trouble");
  bar.hidden = key === null;
  bar.classList.toggle("loud", loud);
  const text = key === null ? "" : t(key);
  if (bar.textContent !== text) bar.textContent = text;
}

/** @type {number | undefined} */
let late;

/**
 * How much waits to be saved: told only where it takes longer than a moment.
 * @param {number} count
 */
export function waiting(count) {
  const line = $("saved");
  clearTimeout(late);
  const show = () => {
    const text = count ? t("waiting", { n: count }) : t("saved");
    if (line.textContent !== text) line.textContent = text;
    line.classList.toggle("some", count > 0);
  };
  if (count && !line.classList.contains("some")) late = setTimeout(show, 1200);
  else show();
}
