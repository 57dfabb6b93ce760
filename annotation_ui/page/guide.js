// The dialogs of help and guide.

import { head } from "./dialogs.js";
import { $, make, open } from "./dom.js";
import { ask } from "./server.js";
import { t, said } from "./strings.js";

/** @typedef {import("./types").Declaration} Declaration */

const KEYS = [
  [["1", "…", "5"], "help_vote"], [["Z"], "help_undo"], [["S"], "help_skip"], [["←", "→"], "help_history"], [["F"], "help_fit"],
  [["+", "−"], "help_zoom"], [["⇧", "← ↑ ↓ →"], "help_pan"], [["R"], "help_reveal"], [["↑", "↓"], "help_rows"], [["⏎"], "help_enter"],
  [["G"], "help_guide"], [["?"], "help_help"],
];

export function showHelp() {
  const dialog = /** @type {HTMLDialogElement} */ ($("help"));
  const rows = KEYS.map(([keys, text]) => make("div", {},
    make("dt", {}, .../** @type {string[]} */ (keys).map((key) => make("kbd", { textContent: key }))), make("dd", { textContent: t(/** @type {string} */ (text)) })));
  rows.push(make("div", {}, make("dt", { textContent: t("help_swipe") }), make("dd", { textContent: t("help_swipe_text") })));
  dialog.replaceChildren(head(t("help_title"), dialog), make("dl", { className: "keys" }, ...rows), make("p", { className: "quiet", textContent: t("help_off") }));
  dialog.setAttribute("aria-label", t("help_title"));
  open(dialog);
}

/**
 * Shows what each level or criterion means, with the team's own example pictures.
 * @param {number} project
 * @param {Declaration} declaration
 */
export function showGuide(project, declaration) {
  const dialog = /** @type {HTMLDialogElement} */ ($("guide"));
  const levels = (declaration.levels ?? []).map((level) => make("section", { className: "guide", id: `guide-${level.value}` },
    make("h3", {}, make("kbd", { textContent: String(level.value) }), said(level.name)), make("p", { textContent: said(level.help) }),
    make("div", { className: "examples" })));
  const criteria = (declaration.criteria ?? []).map((criterion) => make("section", { className: "guide" },
    make("h3", { textContent: said(criterion.title) }), make("p", { textContent: said(criterion.help) }),
    make("ul", {}, ...Object.entries(criterion.ends ?? {}).map(([value, text]) => make("li", { textContent: `${value}: ${said(text)}` })))));
  dialog.replaceChildren(head(`${t("guide_title")} · ${said(declaration.title)}`, dialog), ...levels, ...criteria);
  dialog.setAttribute("aria-label", t("guide_title"));
  open(dialog);
  if (levels.length) addExamples(project, declaration).catch(() => undefined); // without them the definitions still stand
}

/** @param {number} project @param {Declaration} declaration */
async function addExamples(project, declaration) {
  const { examples } = /** @type {{examples: {level: number, url: string}[]}} */ (await ask("GET", `/api/projects/${project}/guide`));
  for (const { level, url } of examples) {
    const name = said(declaration.levels?.find(({ value }) => value === level)?.name);
    const image = make("img", { loading: "lazy", decoding: "async", alt: `${t("guide_examples")}: ${level} ${name}`, src: url });
    image.addEventListener("error", () => image.remove());
    document.querySelector(`#guide-${level} .examples`)?.append(image);
  }
}
