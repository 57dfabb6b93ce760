// The funnel: how many images go where, beside the recipe as it is saved.

import { make, counted, difference, of, some } from "./dom.js";

export function drawFunnel(body, predicates, now, saved) {
  const rows = [row("indexed", now.input, saved.input, "whole", now.input)];
  const gone = now.gone ? ` (${counted(now.gone)} gone)` : "";
  if (now.failed) rows.push(row(`failed${gone}`, now.failed, saved.failed, "failed", now.input));
  for (const { name } of predicates) {
    rows.push(row(`dropped by ${name}`, of(now.dropped, name), of(saved.dropped, name), "fail", now.input));
    const waiting = of(now.undecided, name), before = of(saved.undecided, name);
    if (waiting || before) rows.push(row(`undecided at ${name}`, waiting, before, "undecided", now.input));
  }
  const unranked = of(now.undecided, "dedup"), before = of(saved.undecided, "dedup");
  if (unranked || before) rows.push(row("undecided at dedup", unranked, before, "undecided", now.input));
  rows.push(row("pass all", now.passing, saved.passing, "pass", now.input));
  body.replaceChildren(...rows);
}

function row(label, count, before, kind, input) {
  const bar = make("span", { className: `bar ${kind}` });
  bar.hidden = count === 0;
  bar.style.width = `${input ? 100 * count / input : 0}%`;
  return make("tr", { className: kind },
    make("th", { scope: "row" }, label, bar),
    make("td", { textContent: counted(count) }),
    make("td", { className: "delta", textContent: difference(count - before) }));
}

export function undecidedNote(element, undecided) {
  const count = Object.values(undecided).reduce((a, b) => a + b, 0);
  element.hidden = count === 0;
  element.replaceChildren(`${some(count)} ${count === 1 ? "needs" : "need"} `,
    make("code", { textContent: "curate score" }), ` before ${count === 1 ? "its" : "their"} fate is known.`);
}

export function duplicatesNote(element, last) {
  element.textContent = "Duplicates are decided after the predicates, the balance after them; neither is counted again here. "
    + (last === null ? "No selection has been made yet."
      : `The last select found ${some(last.duplicates, "duplicate")}`
        + (last.balanced ? `, balanced ${some(last.balanced)} away` : "") + ` and kept ${some(last.kept)}`
        + (last.current ? "." : ", by other predicates than the recipe has now."));
}
