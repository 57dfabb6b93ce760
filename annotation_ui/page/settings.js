// The dialog of the person's settings.

import { $, make, open, visible } from "./dom.js";
import { head } from "./dialogs.js";
import { ask, Refused } from "./server.js";
import { t } from "./strings.js";

/** @typedef {import("./types").Preferences} Preferences */
/** @typedef {import("./types").Me} Me */

/**
 * Opens the dialog.
 * @param {Me} me
 * @param {Preferences} preferences
 * @param {{changed: (preferences: Preferences) => Promise<void>, signOut: () => void}} told
 */
export function showSettings(me, preferences, told) {
  const dialog = /** @type {HTMLDialogElement} */ ($("settings"));
  const draw = () => {
    const language = choice("settings_language", [["en", "English"], ["zh", "中文"]], preferences.language, "language");
    const theme = choice("settings_theme", ["auto", "light", "dark"].map((name) => [name, t(`theme_${name}`)]), preferences.theme, "theme");
    const out = make("button", { type: "button", textContent: t("sign_out") });
    out.addEventListener("click", () => {
      dialog.close();
      told.signOut();
    });
    dialog.replaceChildren(head(t("settings"), dialog), language, theme,
      ...(/** @type {const} */ (["blur", "shortcuts", "rest"])).map((name) => check(name)), passwords(me),
      make("footer", {}, make("span", { className: "quiet", textContent: t("signed_in_as", { name: visible(me.person.name) }) }), out));
    dialog.setAttribute("aria-label", t("settings"));
  };
  /** @param {string} label @param {string[][]} options @param {string | undefined} value @param {"language" | "theme"} name */
  const choice = (label, options, value, name) => {
    const select = make("select", {}, ...options.map(([key, text]) => make("option", { value: key, textContent: text, selected: key === value })));
    select.addEventListener("change", () => {
      Object.assign(preferences, { [name]: select.value });
      told.changed(preferences).then(() => {
        draw();
        /** @type {HTMLElement | null} */ (dialog.querySelector(`select[name=${name}]`))?.focus();
      });
    });
    select.name = name;
    return make("label", { className: "setting" }, make("span", { textContent: t(label) }), select);
  };
  /** @param {"blur" | "shortcuts" | "rest"} name */
  const check = (name) => {
    const input = make("input", { type: "checkbox", name, checked: preferences[name] !== false });
    input.addEventListener("change", () => {
      preferences[name] = input.checked;
      told.changed(preferences);
    });
    return make("label", { className: "setting check" }, input, make("span", { textContent: t(`settings_${name}`) }));
  };
  draw();
  open(dialog);
}

/**
 * The form that sets the password.
 * @param {Me} me
 */
function passwords(me) {
  /** @param {string} label @param {string} autocomplete @param {number} least */
  const field = (label, autocomplete, least) => {
    const input = make("input", { type: "password", autocomplete, minLength: least, required: true });
    return { input, label: make("label", { className: "setting" }, make("span", { textContent: t(label) }), input) };
  };
  const current = me.person.has_password ? field("password_current", "current-password", 1) : null;
  const fresh = field("password_new", "new-password", 10), answer = make("p", { role: "status" });
  const name = make("input", { autocomplete: "username", value: me.person.name, hidden: true, readOnly: true }); // for password managers
  const form = make("form", {}, name, make("h3", { textContent: t("settings_password") }), current?.label ?? null, fresh.label,
    make("button", { type: "submit", textContent: t("password_set") }), answer);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const body = { password: fresh.input.value, ...(current && { current: current.input.value }) };
    ask("PUT", "/api/me/password", body).then(() => {
      me.person.has_password = true;
      form.reset();
      answer.textContent = t("password_done");
    }, (error) => { answer.textContent = error instanceof Refused && error.message ? error.message : t("offline"); });
  });
  return form;
}
