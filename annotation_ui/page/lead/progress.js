// How far the project has come, how fast votes come in, and what levels the images get.

import { make } from "../dom.js";
import { bar, button, chart, choice, note, panel, table } from "./parts.js";
import { clock, counted, day, hour, named, percent, said, t } from "./strings.js";

/** @typedef {import("./types").Desk} Desk */
/** @typedef {import("./types").Progress} Progress */
/** @typedef {import("./types").Status} Status */

const HOUR = 3600000, DAY = 24 * HOUR;
/** @type {Status[]} */
const STATUSES = ["decided", "closing", "open", "tie", "safety_review", "unavailable", "withdrawn"];
const ORDERS = ["random", "level5", "uncertain"];

/** @param {Desk} desk @param {HTMLElement} place */
export async function showProgress(desk, place) {
  /** @type {Progress} */
  const found = await desk.ask("GET", `/api/lead/projects/${desk.project.id}/progress`);
  const isLevels = desk.project.declaration.answer === "level";
  place.replaceChildren(facts(found, isLevels), make("div", { className: "columns" }, statuses(found, isLevels), isLevels ? levels(desk, found) : null),
    make("div", { className: "columns" }, days(found), hours(found)), make("div", { className: "columns" }, control(desk, found, isLevels), isLevels ? prediction(found.model) : null), note(t("as_of", { at: clock(found.at) })));
}

/** @param {string} name @param {string} value @param {...(Node | string | null)} more */
const fact = (name, value, ...more) => make("div", { className: "fact" }, make("dt", { textContent: name }),
  make("dd", {}, make("strong", { textContent: value }), ...more));

/** @param {string} text */
const small = (text) => make("small", { textContent: text });

/** @param {Progress} found @param {boolean} isLevels */
function facts({ asked, cast, left, pace, waiting, images }, isLevels) {
  const share = asked ? cast / asked : 0;
  const list = make("dl", { className: "facts" },
    fact(t("votes"), percent(asked ? share : null), bar(share), small(t("votes_of", { cast: counted(cast), asked: counted(asked) }))),
    fact(t("left"), counted(left), small(timeLeft(pace, left))),
    pace ? fact(t("pace"), t("pace_value", { n: counted(Math.round(pace.votes_per_day)) }), small(pace.days < 1.5 ? t("pace_day") : t("pace_days", { n: Math.round(pace.days) })))
      : fact(t("pace"), t("no_pace"), small(t("no_pace_why"))));
  if (isLevels) {
    list.append(fact(t("waiting"), counted(waiting.adjudication + waiting.safety_review), small(t("adjudication", { n: counted(waiting.adjudication) })), small(t("safety_review", { n: counted(waiting.safety_review) })),
      waiting.adjudication + waiting.safety_review ? make("a", { href: "/#review", textContent: t("review") }) : null));
  }
  if (images.unavailable) {
    list.append(fact(t("cannot_show"), counted(images.unavailable), make("a", { href: "#images?status=unavailable", textContent: t("see_them") })));
  }
  return list;
}

/** @param {Progress["pace"]} pace @param {number} left */
function timeLeft(pace, left) {
  if (!left) return t("left_done");
  if (!pace) return "";
  return pace.days_left < 1.5 ? t("left_day") : t("left_days", { n: counted(Math.round(pace.days_left)) });
}

/** @param {Progress} found @param {boolean} isLevels */
function statuses({ images }, isLevels) {
  const always = isLevels ? ["decided", "open", "tie", "safety_review"] : ["decided", "open"];
  const total = Object.values(images).reduce((a, b) => a + b, 0);
  const rows = STATUSES.filter((status) => images[status] || always.includes(status)).map((status) =>
    [make("a", { href: `#images?status=${status}`, textContent: named("status", status) }), counted(images[status]), percent(total ? images[status] / total : 0), bar(total ? images[status] / total : 0, status)]);
  return panel(t("images_by_status"), table(t("images_by_status"), [t("status"), t("image_count"), t("share"), hidden()], rows));
}

const hidden = () => make("span", { className: "unseen", textContent: t("share") });

/** @param {Desk} desk @param {Progress} found */
function levels({ project }, { levels: shares, images }) {
  const complete = images.decided + images.tie + images.safety_review, isExpected = shares.some(({ expected }) => expected !== null);
  const rows = shares.map(({ level, images: own, low, high, expected }) => {
    const name = said(project.declaration.levels.find(({ value }) => value === level)?.name);
    const share = complete ? own / complete : 0;
    return [make("a", { href: `#images?level=${level}`, textContent: `${level} ${name}` }), counted(own), percent(share), bar(share, `level${level}`),
      ...(isExpected ? [low === null || high === null ? "–" : `${percent(low, 1)}\u00a0– ${percent(high, 1)}`, expected === null ? "–" : counted(expected)] : [])];
  });
  const heads = [t("level"), t("decided"), t("share"), hidden(), ...(isExpected ? [t("interval"), t("expected")] : [])];
  return panel(t("levels"), table(t("levels"), heads, rows), note(t(isExpected ? "expected_why" : "expected_not")));
}

/** @param {Progress} found */
function days({ hours: { first, votes }, at }) {
  const today = new Date(at).setHours(12, 0, 0, 0), bars = Array.from({ length: 30 }, (_, n) => ({ label: day(today - (29 - n) * DAY), count: 0 }));
  votes.forEach((count, n) => {
    const noon = new Date((first + n) * HOUR).setHours(12, 0, 0, 0), bar = bars[29 - Math.round((today - noon) / DAY)];
    if (bar) bar.count += count;
  });
  return panel(t("per_day"), chart(`${t("per_day")}, ${t("days_30")}`, told("chart_days", bars), bars, 7));
}

/** @param {Progress} found */
function hours({ hours: { first, votes }, at }) {
  const now = Math.floor(at / HOUR);
  const bars = Array.from({ length: 48 }, (_, n) => ({ label: hour((now - 47 + n) * HOUR), count: votes[now - 47 + n - first] ?? 0 }));
  return panel(t("per_hour"), chart(`${t("per_hour")}, ${t("hours_48")}`, told("chart_hours", bars), bars, 12));
}

/** @param {string} key @param {{label: string, count: number}[]} bars */
function told(key, bars) {
  const n = bars.reduce((sum, { count }) => sum + count, 0), best = bars.reduce((a, b) => (b.count > a.count ? b : a));
  return n ? t(key, { n: counted(n), at: best.label, most: counted(best.count) }) : t("chart_none");
}

/** @param {Progress["model"]} model */
function prediction(model) {
  if (!model) return panel(t("model"), note(t("model_none")));
  if (model.note) return panel(t("model"), note(model.note));
  /** @param {import("./types").Estimate | null} found */
  const share = (found) => (found ? `${percent(found.value)} (${percent(found.low)}\u00a0– ${percent(found.high)})` : "–");
  const rows = [[t("model_accuracy"), share(model.accuracy)], [t("model_baseline"), share(model.baseline)], [t("model_agreement"), share(model.agreement)]];
  const { level5_auc: auc, level5 } = model, digits = (/** @type {number} */ value) => value.toFixed(2);
  if (auc) rows.push([t("model_auc"), `${digits(auc.value)} (${digits(auc.low)}\u00a0– ${digits(auc.high)})`]);
  if (level5) rows.push([t("model_level5", { n: counted(model.undecided) }), `${counted(level5.value)} (${counted(level5.low)}\u00a0– ${counted(level5.high)})`]);
  return panel(t("model"), table(t("model"), [t("model_figure", { n: counted(model.decided) }), t("model_value")], rows), note(t(model.is_useful ? "model_why" : "model_useless")));
}

/** @param {Desk} desk @param {Progress} found @param {boolean} isLevels only levels are predicted, and ordered by that */
function control(desk, { paused, ordering }, isLevels) {
  const base = `/api/lead/projects/${desk.project.id}`;
  const pausing = button(t(paused ? "resume" : "pause"), async () => {
    await desk.ask("POST", `${base}/pause`, { paused: !paused });
    desk.again();
  });
  pausing.name = "pause";
  const { select, label } = choice(t("order"), ORDERS.map((order) => [order, t(`order_${order}`)]), ordering, "order");
  select.addEventListener("change", async () => {
    await desk.ask("POST", `${base}/order`, { ordering: select.value });
    desk.say(t("done"));
    desk.again();
  });
  return panel(t("control"), make("div", { className: "row" }, make("p", { className: paused ? "paused" : "", textContent: t(paused ? "is_paused" : "running") }), pausing, isLevels ? label : ""), isLevels ? note(t("order_why")) : "");
}
