// A grid of scores: every criterion for every caption or picture. Criteria that need the prompt come in a second step,
// in which the prompt is shown and the first scores stand.

import { make, quoted } from "./dom.js";
import { t, said } from "./strings.js";

/** @typedef {import("./types").Answer} Answer */
/** @typedef {import("./types").Criterion} Criterion */
/** @typedef {import("./types").Item} Item */
/** @typedef {{part: string, criterion: Criterion, element: HTMLElement, inputs: HTMLInputElement[]}} Cell */

const SCALE = [1, 2, 3, 4, 5];

export class Scores {
  /**
   * @param {HTMLFormElement} form
   * @param {import("./types").Declaration} declaration
   * @param {{answered: (answer: Answer) => void, missing: (count: number) => void, step: () => void}} told
   */
  constructor(form, declaration, told) {
    this.form = form;
    this.criteria = declaration.criteria;
    this.pictures = declaration.layout === "images";
    this.told = told;
    /** @type {Item | null} */
    this.item = null;
    /** @type {import("./types").Scores} */
    this.scores = {};
    this.prompted = true;
    this.off = false;
    this.active = 0;
    /** @type {Cell[]} */
    this.cells = [];
    form.onsubmit = (event) => {
      event.preventDefault();
      this.submit();
    };
  }

  /**
   * Shows an item's scores, or none.
   * @param {Item} item
   * @param {Answer | null} answer
   */
  show(item, answer) {
    const same = this.item?.id === item.id && !answer;
    this.item = item;
    if (!same) {
      this.scores = structuredClone(answer?.answer ?? {});
      const first = this.criteria.some((criterion) => !criterion.needs_prompt), second = this.criteria.some((criterion) => criterion.needs_prompt);
      this.prompted = answer !== null || !(item.prompt !== null && first && second);
      this.active = 0;
    }
    this.draw();
    if (!same) this.form.scrollTop = 0;
  }

  /**
   * Shows scores that were taken back, so that only what is wrong need be given anew.
   * @param {Answer} answer
   */
  restore(answer) {
    this.scores = structuredClone(answer.answer ?? {});
    this.prompted = true;
    this.draw();
  }

  /** The criteria of the present step. */
  get asked() {
    return this.prompted ? this.criteria : this.criteria.filter((criterion) => !criterion.needs_prompt);
  }

  draw() {
    const { item } = this;
    if (!item) return;
    this.cells = [];
    const parts = item.parts ?? item.pictures.map((_, n) => ({ id: String(n) }));
    const prompt = item.prompt !== null && this.prompted
      ? make("section", { className: "prompt" }, make("h2", { textContent: t("prompt") }), quoted(item.prompt)) : null;
    const button = make("button", { type: "submit", className: "main", textContent: t(this.prompted ? "submit" : "show_prompt") });
    this.form.replaceChildren(...(prompt ? [prompt] : []), ...parts.map((part, n) => this.card(part, n)), button);
    this.disable(this.off);
    this.mark();
  }

  /** @param {import("./types").Part} part @param {number} number */
  card(part, number) {
    const name = this.pictures ? String.fromCharCode(65 + number) : String(number + 1);
    const rows = this.asked.map((criterion) => this.row(part.id, criterion, name));
    return make("section", { className: "part" }, make("h2", { textContent: t(this.pictures ? "picture_n" : "caption_n", { n: name }) }),
      part.caption_zh ? quoted(part.caption_zh, "zh-CN") : null, part.caption_en ? quoted(part.caption_en, "en") : null, ...rows);
  }

  /** @param {string} part @param {Criterion} criterion @param {string} name */
  row(part, criterion, name) {
    const number = this.cells.length, given = this.scores[part]?.[criterion.name];
    const locked = this.prompted && !criterion.needs_prompt && this.criteria.some((one) => one.needs_prompt) && !!this.item?.prompt;
    const inputs = SCALE.map((value) => make("input", {
      type: "radio", name: `cell-${number}`, value: String(value), checked: value === given, "aria-label": this.end(criterion, value),
    }));
    const element = make("fieldset", { className: "row", title: said(criterion.help) },
      make("legend", { textContent: said(criterion.title), "aria-label": `${name}: ${said(criterion.title)}` }),
      make("span", { className: "scale" }, ...inputs.map((input) => make("label", { title: this.end(criterion, Number(input.value)) }, input,
        make("span", { textContent: input.value })))));
    element.dataset.locked = locked ? "yes" : "";
    inputs.forEach((input) => input.addEventListener("change", () => this.set(number, Number(input.value), false)));
    element.addEventListener("focusin", () => { this.active = number; this.mark(); });
    this.cells.push({ part, criterion, element, inputs });
    return element;
  }

  /** @param {Criterion} criterion @param {number} value */
  end(criterion, value) {
    const end = criterion.ends?.[String(value)];
    return end ? `${value}: ${said(end)}` : String(value);
  }

  /**
   * Sets a score; `onward` moves to the next row.
   * @param {number} number
   * @param {number} value
   * @param {boolean} onward
   */
  set(number, value, onward) {
    const cell = this.cells[number];
    if (!cell || this.off || cell.element.dataset.locked) return;
    (this.scores[cell.part] ??= {})[cell.criterion.name] = value;
    for (const input of cell.inputs) input.checked = Number(input.value) === value;
    if (onward) this.move(1);
  }

  /** @param {string} digit */
  digit(digit) {
    const cell = this.cells[this.active];
    if (cell && SCALE.includes(Number(digit))) this.set(this.active, Number(digit), true);
  }

  /**
   * Moves to another row, past those whose scores stand; the focus goes with it if it is in the grid.
   * @param {number} by
   */
  move(by) {
    let to = this.active + by;
    while (by && this.cells[to]?.element.dataset.locked) to += by;
    if (this.cells[to]) this.active = to;
    this.mark();
    const { element, inputs } = this.cells[this.active] ?? {};
    element?.scrollIntoView({ block: "nearest" });
    if (!this.cells[to] && by > 0) this.form.lastElementChild?.scrollIntoView({ block: "nearest" }); // the button below the last row
    if (this.form.contains(document.activeElement)) (inputs?.find((input) => input.checked) ?? inputs?.[0])?.focus();
  }

  mark() {
    this.cells.forEach((cell, n) => cell.element.classList.toggle("active", n === this.active));
  }

  submit() {
    if (this.off) return;
    const missing = this.cells.filter((cell) => this.scores[cell.part]?.[cell.criterion.name] === undefined);
    if (missing.length) {
      this.active = this.cells.indexOf(missing[0]);
      this.move(0);
      this.told.missing(missing.length);
    } else if (!this.prompted) {
      this.prompted = true;
      this.draw();
      this.active = Math.max(0, this.cells.findIndex((cell) => !cell.element.dataset.locked));
      this.mark();
      this.form.scrollTop = 0;
      this.told.step();
    } else {
      this.told.answered({ level: null, answer: structuredClone(this.scores) });
    }
  }

  /**
   * What the answer is called.
   * @param {Answer} answer
   */
  name(answer) {
    return Object.values(answer.answer ?? {}).map((scores) => Object.values(scores).join(" ")).join(" · ");
  }

  /** @param {boolean} off */
  disable(off) {
    this.off = off;
    for (const { element } of this.cells) /** @type {HTMLFieldSetElement} */ (element).disabled = off || !!element.dataset.locked;
  }
}
