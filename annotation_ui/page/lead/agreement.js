// How far people agree, and who differs from whom.

import { make, visible } from "../dom.js";
import { choice, note, panel, scale, table } from "./parts.js";
import { clock, counted, percent, t } from "./strings.js";

/** @typedef {import("./types").Desk} Desk */
/** @typedef {import("./types").Coefficient} Coefficient */

const LEVELS = [1, 2, 3, 4, 5];

/** @param {Desk} desk @param {HTMLElement} place */
export async function showAgreement(desk, place) {
  if (desk.project.declaration.answer !== "level") {
    place.replaceChildren(note(t("no_levels")));
    return;
  }
  const base = `/api/lead/projects/${desk.project.id}`;
  /** @type {[import("./types").Agreement, import("./types").Workers]} */
  const [found, workers] = await Promise.all([desk.ask("GET", `${base}/agreement`), desk.ask("GET", `${base}/people`)]);
  const voters = workers.people.filter(({ work }) => work.votes > 0);
  const coefficients = panel(t("agreement"), make("div", { className: "columns" }, coefficient(t("alpha"), found.alpha, [0.667, 0.8]), coefficient(t("kappa"), found.kappa, [])),
    note(t("of_images", { n: counted(found.images) })), note(t("alpha_why")));
  place.replaceChildren(coefficients, voters.length ? await matrix(desk, base, voters) : "", note(t("as_of", { at: clock(found.at) })));
}

/** @param {number} value @returns with a minus sign, which is no hyphen */
const fixed = (value) => value.toFixed(3).replace("-", "−");

/** @param {string} name @param {Coefficient | null} found @param {number[]} marks */
function coefficient(name, found, marks) {
  if (!found) return make("div", {}, make("h3", { textContent: name }), make("p", { textContent: t("undefined") }));
  const { value, low, high } = found;
  const range = low === null || high === null ? "" : `${t("interval")}: ${fixed(low)} – ${fixed(high)}`;
  return make("div", {}, make("h3", { textContent: name }), make("p", {}, make("strong", { className: "large", textContent: fixed(value) }), " ", make("small", { textContent: range })), scale(found, marks));
}

/** @param {Desk} desk @param {string} base @param {import("./types").Worker[]} voters */
async function matrix(desk, base, voters) {
  const names = voters.map(({ id, name }) => [String(id), visible(name)]);
  const first = choice(t("first"), names, names[0][0], "first");
  const second = choice(t("second"), [["", t("all_others")], ...names], "", "second");
  const place = make("div", { ariaLive: "polite" });
  const draw = async () => {
    const other = second.select.value && `&second=${second.select.value}`;
    const found = await desk.ask("GET", `${base}/confusion?first=${first.select.value}${other}`);
    const words = { first: first.select.selectedOptions[0].text, second: second.select.selectedOptions[0].text };
    place.replaceChildren(...drawn(found, words));
  };
  for (const { select } of [first, second]) select.addEventListener("change", draw);
  await draw();
  return panel(t("confusion"), make("div", { className: "row" }, first.label, second.label), place);
}

/** @param {import("./types").Confusion} found @param {{first: string, second: string}} words */
function drawn({ counts, agreement }, words) {
  const sums = counts.map((row) => row.reduce((a, b) => a + b, 0)), total = sums.reduce((a, b) => a + b, 0);
  if (!total) return [note(t("no_pairs"))];
  const rows = counts.map((row, n) => [String(n + 1), ...row.map((count, m) => shaded(count, sums[n], n === m)), counted(sums[n])]);
  const made = table(`${t("confusion")}: ${t("rows_are", words)}`, [make("span", { className: "unseen", textContent: t("level") }), ...LEVELS.map(String), t("sum")], rows);
  made.classList.add("matrix");
  return [note(`${t("rows_are", words)} ${t("equal_pairs", { share: percent(agreement), n: counted(total) })}`), made];
}

/** @param {number} count @param {number} sum @param {boolean} isEqual */
const shaded = (count, sum, isEqual) => make("span", {
  className: `shade${sum ? Math.ceil((4 * count) / sum) : 0}${isEqual ? " equal" : ""}`, textContent: counted(count), title: sum ? percent(count / sum) : "",
});
