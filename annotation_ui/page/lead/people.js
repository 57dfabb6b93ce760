// Who takes part: how each works, invitations, and what a lead may do about a person.

import { make, visible } from "../dom.js";
import { button, choice, dialog, fill, focusOn, note, panel, table } from "./parts.js";
import { clock, counted, moment, named, percent, said, seconds, t } from "./strings.js";
import { Refused } from "../server.js";

/** @typedef {import("./types").Desk} Desk */
/** @typedef {import("./types").Worker} Worker */

let sorted = "votes", descending = true;

/** @type {Record<string, (worker: Worker) => number | string | null>} */
const BY = {
  person: ({ name }) => name.toLowerCase(), role: ({ role, revoked }) => (revoked ? "z" : role), votes: ({ work }) => work.votes, median: ({ work }) => work.median_ms,
  p10: ({ work }) => work.p10_ms, agreed: ({ work }) => work.agreement, gold: ({ work }) => (work.gold ? work.gold_right / work.gold : null),
  test: ({ work }) => work.test, skips: ({ work }) => total(work.skips), corrections: ({ work }) => work.corrections, withdrawals: ({ work }) => work.withdrawals,
  set_aside: ({ work }) => work.set_aside, held: ({ work }) => work.held, last: ({ work }) => work.last_at,
};

/** @param {Record<string, number>} counts */
const total = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);

/** @param {Desk} desk @param {HTMLElement} place */
export async function showPeople(desk, place) {
  const base = `/api/lead/projects/${desk.project.id}`, isLevels = desk.project.declaration.answer === "level";
  /** @type {import("./types").Workers} */
  const found = await desk.ask("GET", `${base}/people`);
  const columns = Object.keys(BY).filter((name) => isLevels || !["agreed", "gold", "test"].includes(name));
  const rows = make("div");
  /** @param {string} [focus] */
  const draw = (focus) => {
    const heads = columns.map((name) => sorter(name, () => draw(name)));
    const ordered = [...found.people].sort(compare);
    const made = table(t("people"), heads, ordered.map((worker) => columns.map((name) => cell(desk, name, worker))));
    made.querySelectorAll("thead th").forEach((head, n) => {
      if (columns[n] === sorted) head.ariaSort = descending ? "descending" : "ascending";
    });
    made.classList.add("people");
    rows.replaceChildren(made);
    if (focus) focusOn(rows.querySelector(`[data-sort=${focus}]`));
  };
  draw();
  const csv = make("a", { className: "button", href: `${base}/people.csv`, download: "", textContent: t("csv") });
  place.replaceChildren(panel(t("invite"), invitation(desk)), panel(t("people"), rows, make("div", { className: "row" }, csv), note(`${t("people_why")} ${columns.includes("agreed") ? t("agreed_why") : ""}`)), note(t("as_of", { at: clock(found.at) })));
}

/** @param {string} name @param {() => void} draw */
function sorter(name, draw) {
  const made = button(t(name), () => {
    descending = sorted === name ? !descending : !["person", "role", "test"].includes(name);
    sorted = name;
    draw();
  }, "sorter");
  made.dataset.sort = name;
  made.title = t("sort_by", { name: t(name) });
  return made;
}

/** @param {Worker} a @param {Worker} b */
function compare(a, b) {
  const [x, y] = [BY[sorted](a), BY[sorted](b)];
  if (x === null || y === null) return Number(x === null) - Number(y === null); // who has no value comes last
  const order = typeof x === "string" || typeof y === "string" ? String(x).localeCompare(String(y)) : x - y;
  return (descending ? -order : order) || a.name.localeCompare(b.name);
}

/** @param {Desk} desk @param {string} name @param {Worker} worker */
function cell(desk, name, worker) {
  const { work } = worker;
  if (name === "person") {
    const made = button(visible(worker.name), () => manage(desk, worker), "plain");
    made.name = `person-${worker.id}`; // by which it is in focus again once the table is drawn anew
    made.ariaLabel = t("manage", { name: visible(worker.name) });
    return made;
  }
  if (name === "role") return worker.revoked ? make("span", { className: "quiet", textContent: t("revoked") }) : named("role", worker.role);
  if (name === "median") return seconds(work.median_ms);
  if (name === "p10") return seconds(work.p10_ms);
  if (name === "agreed") return percent(work.agreement);
  if (name === "gold") return work.gold ? `${percent(work.gold_right / work.gold)} (${t("of", { n: work.gold_right, of: work.gold })})` : "–";
  if (name === "test") return work.test ? `${named("test", work.test)} (${t("of", { n: work.test_correct, of: work.test_answered })})` : "–";
  if (name === "skips") return skips(desk, work.skips);
  if (name === "last") return work.last_at === null ? t("never") : moment(work.last_at);
  return counted(Number(BY[name](worker)));
}

/** @param {Desk} desk @param {Record<string, number>} own */
function skips({ project }, own) {
  const reasons = Object.entries(own).map(([reason, n]) => `${said(project.declaration.skip_reasons.find(({ name }) => name === reason)?.title) || reason}: ${counted(n)}`);
  if (!reasons.length) return "0";
  return make("details", {}, make("summary", { textContent: counted(total(own)) }), make("ul", {}, ...reasons.map((text) => make("li", { textContent: text }))));
}

/** @param {Desk} desk */
function invitation(desk) {
  const name = make("input", { name: "name", required: true, maxLength: 60, autocomplete: "off" });
  const role = choice(t("role"), ["annotator", "reviewer", "lead"].map((key) => [key, named("role", key)]), "annotator", "role");
  const wrong = make("p", { className: "wrong", role: "alert" });
  const form = make("form", { className: "row" }, make("label", {}, make("span", { textContent: t("name") }), name), role.label,
    make("button", { type: "submit", className: "main", textContent: t("invite") }), wrong);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    wrong.textContent = "";
    try {
      showLink(desk, await desk.ask("POST", "/api/lead/invitations", { name: name.value, role: role.select.value }));
      desk.again();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      wrong.textContent = error.code === "known" ? t("known") : error.message;
    }
  });
  return form;
}

/** @param {Desk} desk @param {import("./types").Invited} invited */
function showLink(desk, { name, token, expires_at }) {
  const link = make("input", { readOnly: true, value: `${location.origin}/#join=${token}`, ariaLabel: t("invited", { name: visible(name) }) });
  const copy = button(t("copy"), async () => {
    link.select();
    try {
      await navigator.clipboard.writeText(link.value);
    } catch {
      document.execCommand("copy"); // a page without HTTPS has no other way
    }
    copy.textContent = t("copied");
    desk.say(t("copied"));
  }, "main");
  fill(t("invited", { name: visible(name) }), make("div", { className: "row link" }, link, copy), note(t("link_once", { at: moment(expires_at) })));
  link.select();
}

/** @param {Desk} desk @param {Worker} worker */
function manage(desk, worker) {
  const base = `/api/lead/people/${worker.id}`, isSelf = worker.id === desk.me.person.id;
  /** @param {string} path @param {unknown} [body] */
  const act = async (path, body) => {
    const answer = await desk.ask("POST", path, body);
    dialog().close();
    desk.say("images" in answer ? t("returned", { n: answer.images }) : t("done"));
    desk.again();
  };
  const role = choice(t("role"), ["annotator", "reviewer", "lead"].map((key) => [key, named("role", key)]), worker.role, "role");
  const roles = make("div", { className: "row" }, role.label, button(t("change"), () => act(`${base}/role`, { role: role.select.value })));
  const actions = [
    action("new_link", async () => {
      showLink(desk, await desk.ask("POST", `${base}/link`));
      desk.again();
    }),
    worker.work.held ? action("return_leases", () => act(`${base}/reassign`, { what: "leases" }), "return_why") : null,
    worker.work.votes ? action("retract", () => act(`${base}/reassign`, { what: "votes" }), "retract_why", true) : null,
    worker.work.test === "failed" ? action("test_again", () => act(`/api/lead/projects/${desk.project.id}/people/${worker.id}/test`)) : null,
    isSelf || worker.revoked ? null : action("revoke", () => act(`${base}/revoke`), "revoke_why", true),
  ];
  fill(visible(worker.name), isSelf ? note(t("yourself")) : roles, ...actions.flatMap((own) => own ?? []));
}

/**
 * A button with what it does; what cannot be undone is asked again.
 * @param {string} name
 * @param {() => void} act
 * @param {string} [why]
 * @param {boolean} [asks]
 */
function action(name, act, why = `${name}_why`, asks = false) {
  const place = make("div", { className: "row" });
  const first = button(t(name), () => {
    if (!asks) {
      act();
      return;
    }
    const sure = button(t(name), act, "danger");
    place.replaceChildren(make("span", { textContent: t("sure") }), sure, button(t("cancel"), () => place.replaceChildren(first)));
    sure.focus();
  });
  place.append(first);
  return make("div", { className: "action" }, place, note(t(why)));
}
