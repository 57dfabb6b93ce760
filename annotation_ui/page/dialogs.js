// The dialog that asks why an item is skipped, and what all dialogs have in common.

import { $, make, open } from "./dom.js";
import { t, said } from "./strings.js";

/** @typedef {import("./types").Declaration} Declaration */

/** @param {string} title @param {HTMLDialogElement} dialog */
export function head(title, dialog) {
  const close = make("button", { type: "button", className: "plain close", textContent: "✕", ariaLabel: t("close") });
  close.addEventListener("click", () => dialog.close());
  return make("header", {}, make("h2", { textContent: title }), close);
}

/**
 * Asks why an item is skipped; number keys answer, Escape leaves it.
 * @param {Declaration} declaration
 * @param {(reason: string) => void} chosen
 */
export function askReason(declaration, chosen) {
  const dialog = /** @type {HTMLDialogElement} */ ($("skipping"));
  /** @param {string} reason */
  const choose = (reason) => {
    dialog.close();
    chosen(reason);
  };
  const buttons = declaration.skip_reasons.map((reason, n) => {
    const button = make("button", { type: "button" }, make("kbd", { textContent: String(n + 1) }), make("span", { textContent: said(reason.title) }));
    button.addEventListener("click", () => choose(reason.name));
    return button;
  });
  dialog.onkeydown = (event) => {
    if (event.isComposing || event.keyCode === 229 || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
    const digit = /^[1-9]$/.exec(event.key)?.[0] ?? /^Numpad([1-9])$/.exec(event.code)?.[1];
    const reason = digit && declaration.skip_reasons[Number(digit) - 1];
    if (!reason) return;
    event.preventDefault();
    choose(reason.name);
  };
  dialog.replaceChildren(head(t("skip_title"), dialog), make("div", { className: "reasons" }, ...buttons));
  dialog.setAttribute("aria-label", t("skip_title"));
  open(dialog);
}
