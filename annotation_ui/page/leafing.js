// Leafs through the person's earlier answers, in the place where the present item else is.

import { $ } from "./dom.js";
import { hint, notice } from "./notices.js";
import { said, t } from "./strings.js";

/** @typedef {import("./voting.js").Voting} Voting */

/**
 * Shows an earlier answer, or a later one, or the present item again.
 * @param {Voting} voting
 * @param {number} by 1 is earlier, -1 later
 */
export async function leaf(voting, by) {
  const { past } = voting;
  if (voting.leaving) {
    voting.asked += by; // a key that comes while the earlier answers are asked for is not lost
    return;
  }
  if (by < 0 && past.place === null) return;
  const place = (past.place ?? -1) + by;
  if (place < 0) {
    voting.item = null;
    voting.pastTiming.stop();
    voting.show();
    return;
  }
  voting.leaving = true;
  try {
    if (past.place === null) await past.load(false);
    else if (place >= past.all.length - 2) await past.load(true);
  } catch {
    if (place >= past.all.length) notice(t("history_offline"));
  }
  voting.leaving = false;
  const further = voting.asked;
  voting.asked = 0;
  const answered = past.all[place];
  if (!answered) {
    hint(t("history_end"));
    return;
  }
  voting.timing.stop();
  voting.pastTiming.reset();
  past.place = place;
  if (further) {
    await leaf(voting, further);
    return;
  }
  const loaded = voting.pictures.of(answered.item);
  await loaded.load();
  if (past.place !== place) return;
  if (!loaded.ready) notice(t("unavailable", { message: loaded.error?.message || t(loaded.error?.code ?? "offline") }));
  voting.item = null;
  voting.present(answered.item, answered);
  banner(voting, answered);
}

/**
 * Tells above the picture that it is an earlier one, and what may be done.
 * @param {Voting} voting
 * @param {import("./types").Answered} answered
 */
export function banner(voting, answered) {
  const { answer, changeable, skipped } = answered;
  const reason = said(voting.declaration.skip_reasons.find(({ name }) => name === skipped)?.title);
  const key = !changeable ? "history_decided" : skipped !== null ? "history_skipped" : "history_answer";
  $("banner").textContent = t(key, { answer: answer ? voting.panel.name(answer) : reason, reason });
  $("banner").hidden = false;
}
