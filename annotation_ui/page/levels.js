// The bar of levels: one press of a key or a button is the answer.

import { make } from "./dom.js";
import { t, said } from "./strings.js";

/** @typedef {import("./types").Answer} Answer */
/** @typedef {import("./types").Level} Level */

const TOO_SOON = 250; // milliseconds

export class Levels {
  /**
   * @param {HTMLFormElement} form
   * @param {Level[]} levels
   * @param {{answered: (answer: Answer) => void}} told
   */
  constructor(form, levels, told) {
    this.form = form;
    this.levels = levels;
    this.told = told;
    /** In review a level is chosen first and stored by Enter, since nothing takes a verdict back. */
    this.confirm = false;
    /** @type {HTMLInputElement[]} */
    this.inputs = [];
    this.arrow = false;
    this.shown = 0;
    form.onsubmit = (event) => {
      event.preventDefault();
      this.submit();
    };
    this.draw();
  }

  /** Builds the bar in the language that is set. */
  draw() {
    const chosen = this.chosen;
    const labels = this.levels.flatMap((level) => {
      const id = `help-${level.value}`;
      const input = make("input", { type: "radio", name: "level", value: String(level.value), checked: level.value === chosen, "aria-describedby": id });
      const label = make("label", { className: "level", title: said(level.help) }, input,
        make("kbd", { textContent: String(level.value) }), " ", make("span", { className: "name", textContent: said(level.name) }));
      this.listen(input);
      return [label, make("span", { className: "unseen", id, textContent: said(level.help) })];
    });
    this.inputs = labels.flatMap((label) => [...label.querySelectorAll("input")]);
    this.button = make("button", { type: "submit", className: "main confirm", textContent: t(this.confirm ? "decide" : "vote") });
    this.form.replaceChildren(make("fieldset", { className: "levels" }, make("legend", { className: "unseen", textContent: t("level") }), ...labels), this.button);
  }

  /**
   * A click votes. Arrow keys within the radio buttons click them too, and must not: they only choose.
   * @param {HTMLInputElement} input
   */
  listen(input) {
    input.addEventListener("keydown", (event) => {
      this.arrow = event.key.startsWith("Arrow");
      if (event.key === " " || event.key === "Enter") {
        event.preventDefault();
        if (!event.repeat) this.choose(Number(input.value));
      }
    });
    input.addEventListener("keyup", () => { this.arrow = false; });
    input.addEventListener("click", (event) => {
      if (this.arrow) return;
      // The second click of a double click falls on an image that nobody can have looked at.
      if (event.detail && performance.now() - this.shown < TOO_SOON) {
        event.preventDefault();
        return;
      }
      this.choose(Number(input.value));
      input.blur(); // so that arrow keys leaf through the history again
    });
  }

  get chosen() {
    const input = this.inputs.find((one) => one.checked);
    return input ? Number(input.value) : null;
  }

  /** @param {number} value */
  choose(value) {
    for (const input of this.inputs) input.checked = Number(input.value) === value;
    if (!this.confirm) this.submit();
  }

  submit() {
    if (this.chosen !== null) this.told.answered({ level: this.chosen, answer: null });
  }

  /**
   * Shows an item's answer, or none.
   * @param {import("./types").Item} _item
   * @param {Answer | null} answer
   */
  show(_item, answer) {
    this.shown = performance.now();
    for (const input of this.inputs) input.checked = Number(input.value) === answer?.level;
  }

  /** @param {string} digit */
  digit(digit) {
    const level = this.levels.find((one) => String(one.value) === digit);
    if (level) this.choose(level.value);
  }

  /** @param {number} _by */
  move(_by) {}

  /**
   * A level that is taken back is given anew by one key.
   * @param {Answer} _answer
   */
  restore(_answer) {}

  /**
   * What the answer is called.
   * @param {Answer} answer
   */
  name(answer) {
    const level = this.levels.find(({ value }) => value === answer.level);
    return level ? `${level.value} ${said(level.name)}` : "";
  }

  /** @param {boolean} off */
  disable(off) {
    for (const fieldset of this.form.querySelectorAll("fieldset")) fieldset.disabled = off;
  }
}
