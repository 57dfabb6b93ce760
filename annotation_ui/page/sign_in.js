// Signs a person in by name and password, for whom no link is at hand.

import { $, make } from "./dom.js";
import { ask, Refused } from "./server.js";
import { t } from "./strings.js";

/** @typedef {import("./types").Me} Me */

/**
 * Shows the form until somebody has signed in; returns who.
 * @param {string} why name of the text to show
 * @param {() => Promise<void>} otherLanguage sets the other language
 * @param {string} [known] the name of the person who was at work
 * @returns {Promise<Me>}
 */
export function signIn(why, otherLanguage, known = "") {
  const dialog = /** @type {HTMLDialogElement} */ ($("signing"));
  const name = make("input", { name: "name", autocomplete: "username", required: true, maxLength: 200, value: known, autofocus: !known });
  const password = make("input", { name: "password", type: "password", autocomplete: "current-password", required: true, maxLength: 1000 });
  const answer = make("p", { role: "alert" }), form = make("form");
  const draw = () => {
    const other = make("button", { type: "button", className: "plain", textContent: t("other_language") });
    other.addEventListener("click", () => {
      otherLanguage().then(draw);
    });
    form.replaceChildren(make("header", {}, make("h2", { textContent: t("sign_in") }), other), make("p", { textContent: t(why) }),
      make("label", { className: "setting" }, make("span", { textContent: t("name") }), name),
      make("label", { className: "setting" }, make("span", { textContent: t("password") }), password), answer,
      make("button", { type: "submit", className: "main", textContent: t("sign_in") }));
    dialog.setAttribute("aria-label", t("sign_in"));
  };
  draw();
  dialog.autofocus = !!known; // a key that was meant for the picture must not go into a field
  dialog.replaceChildren(form);
  return new Promise((resolve) => {
    const show = () => dialog.open || dialog.showModal();
    dialog.addEventListener("cancel", (event) => event.preventDefault()); // there is nothing else to use
    dialog.onclose = show; // a browser lets Escape close it the second time
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        const me = await ask("POST", "/api/sign-in", { name: name.value, password: password.value });
        dialog.onclose = null;
        dialog.close();
        resolve(me);
      } catch (error) {
        const status = error instanceof Refused ? error.status : 0;
        answer.textContent = [401, 403, 422].includes(status) ? t("sign_in_failed") : status ? /** @type {Error} */ (error).message : t("offline_title");
        password.select();
      }
    });
    show();
  });
}
