// The gallery: images with their votes, by status, level, disagreement and person; and the story of each.

import { make, quoted, visible } from "../dom.js";
import { button, choice, dialog, fill, focusOn, note, panel, table, when } from "./parts.js";
import { counted, moment, named, said, seconds, t } from "./strings.js";

/** @typedef {import("./types").Desk} Desk */
/** @typedef {import("./types").Shown} Shown */
/** @typedef {import("./types").Story} Story */

const AT_ONCE = 48, LOOKS = 25; // pages that are looked through in a row before the person is asked
const STATUSES = ["open", "closing", "decided", "tie", "safety_review", "unavailable", "withdrawn"];

/** @param {Desk} desk @param {HTMLElement} place @param {URLSearchParams} asked */
export async function showImages(desk, place, asked) {
  const base = `/api/lead/projects/${desk.project.id}`, isLevels = desk.project.declaration.answer === "level";
  /** @type {{people: {id: number, name: string}[]}} */
  const { people } = await desk.ask("GET", "/api/lead/people");
  /** @param {string} label @param {string} name @param {string[][]} options */
  const filter = (label, name, options) => choice(t(label), options, asked.get(name) ?? "", name);
  const levels = desk.project.declaration.levels.map(({ value, name }) => [String(value), `${value} ${said(name)}`]);
  const filters = [
    filter("status", "status", [["", t("any")], ...STATUSES.map((status) => [status, named("status", status)])]),
    ...(isLevels ? [filter("level", "level", [["", t("any")], ...levels]),
      filter("spread", "spread", [["", t("spread_any")], ...[1, 2, 3, 4].map((n) => [String(n), t("spread_n", { n })])])] : []),
    filter("person", "person", [["", t("anybody")], ...people.map(({ id, name }) => [String(id), visible(name)])]),
    ...(isLevels ? [filter("kind", "gold", [["", t("kind_image")], ["true", t("kind_gold")]])] : []),
  ];
  const form = make("form", { className: "row filters", ariaLabel: t("filters") }, ...filters.map(({ label }) => label));
  form.addEventListener("change", () => {
    const wanted = new URLSearchParams(filters.map(({ select }) => [select.name, select.value]).filter(([, value]) => value));
    location.hash = `images?${wanted}`;
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  const grid = make("ul", { className: "grid" }), state = make("p", { className: "note", role: "status" }), more = make("div", { className: "row" });
  const reopening = asked.get("status") === "unavailable" ? button(t("reopen_all"), async () => {
    desk.say(t("reopened", { n: (await desk.ask("POST", `${base}/reopen`)).images }));
    desk.again();
  }) : null;
  place.replaceChildren(panel(t("images"), form, reopening), grid, state, more);
  await load(desk, `${base}/items?limit=${AT_ONCE}&${asked}`, { grid, state, more }, null);
}

/**
 * Shows a page's images after those that are there. Pages on which nothing passes the filter are passed over.
 * @param {Desk} desk
 * @param {string} path
 * @param {{grid: HTMLElement, state: HTMLElement, more: HTMLElement}} places
 * @param {string | null} after
 */
async function load(desk, path, { grid, state, more }, after) {
  more.replaceChildren();
  let found = 0, looked = 0;
  for (let looks = 0; looks < LOOKS; looks++) {
    /** @type {import("./types").Gallery} */
    const page = await desk.ask("GET", after === null ? path : `${path}&after=${after}`);
    if (!grid.isConnected) return;
    grid.append(...page.items.map((item) => tile(desk, item, page.blur_from)));
    found += page.items.length;
    looked += page.looked_at;
    after = page.next;
    if (after === null || found >= AT_ONCE) break;
    state.textContent = t("looking", { n: counted(looked) });
  }
  const shown = grid.childElementCount;
  state.textContent = shown || after !== null ? t("shown_n", { n: counted(shown) }) : t("none");
  if (after === null) return;
  const next = after;
  more.append(button(t(found ? "more" : "go_on"), () => {
    const last = grid.lastElementChild;
    load(desk, path, { grid, state, more }, next).then(() => focusOn((last?.nextElementSibling ?? grid.firstElementChild)?.querySelector("button")));
  }));
}

/** @param {Desk} desk @param {Shown} item @param {number} blurFrom */
function tile(desk, item, blurFrom) {
  const isBlurred = desk.blur && (item.unsafe ?? 0) > blurFrom;
  const frame = make("span", { className: `frame${isBlurred ? " blurred" : ""}` }, item.status === "unavailable" ? make("span", { className: "gone", textContent: visible(item.reason ?? t("no_picture")) }) : picture(item.id, item.version, "thumbnail"));
  const level = item.level ?? item.known, given = item.votes.map(({ level: own }) => own ?? "·").join(" ");
  const made = button("", () => showStory(desk, item.id, made), "tile");
  made.append(frame, make("span", { className: "state" }, make("span", { className: `chip ${item.status}`, textContent: level === null ? named("status", item.status) : `${t("level")} ${level}` }), make("span", { className: "given", textContent: given })),
    make("span", { className: "key", textContent: visible(member(item.key)) }));
  made.title = visible(item.key);
  return make("li", {}, made);
}

/**
 * The part of a key that tells images of one shard apart; of a rating, the whole.
 * @param {string} key
 */
const member = (key) => key.split("/").slice(2).join("/") || key;

/** @param {number} id @param {string} version @param {string} size @param {string} [alt] */
function picture(id, version, size, alt = "") {
  const image = make("img", { alt, loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(make("span", { className: "gone", textContent: t("no_picture") })), { once: true });
  image.src = `/pictures/${id}/0/${size}.jpg?v=${encodeURIComponent(version)}`;
  return image;
}

/** @param {Desk} desk @param {number} id @param {HTMLElement} [from] what is in focus when the dialog closes */
async function showStory(desk, id, from) {
  /** @type {{story: Story, blurred: boolean}} */
  const { story, blurred } = await desk.ask("GET", `/api/lead/items/${id}`);
  const shown = story.status === "unavailable" ? make("p", { className: "gone", textContent: visible(story.reason ?? t("no_picture")) })
    : picture(id, story.version, "preview", t("picture_of", { key: visible(story.key) }));
  const frame = make("div", { className: "frame" }, shown);
  if (blurred && desk.blur) {
    frame.classList.add("blurred");
    const cover = button(t("hidden"), () => {
      frame.classList.remove("blurred");
      cover.remove();
    });
    frame.append(cover);
  }
  fill(visible(story.key), make("div", { className: "story" }, frame, make("div", {}, facts(story), actions(desk, story))), cast(desk, story));
  dialog().addEventListener("close", () => from?.isConnected && from.focus(), { once: true });
}

/** @param {Story} story */
function facts(story) {
  /** @type {[string, string | number | null | ""][]} */
  const all = [
    [t("status"), named("status", story.status)], [t("level"), story.level], [t("known_level"), story.known],
    [t("reason"), story.reason && visible(story.reason)], [t("size"), story.width && story.height ? `${story.width} × ${story.height}` : null],
    [t("shard"), story.shard && visible(`${story.corpus}/${story.shard}`)], [t("asked_n"), story.kind === "image" ? String(story.asked) : null],
    [t("gold"), story.gold && t(story.gold === "open" ? "is_gold" : "was_gold")],
  ];
  const list = make("dl", {}, ...all.filter(([, value]) => value).flatMap(([name, value]) => [make("dt", { textContent: name }), make("dd", { textContent: value })]));
  if (story.verdict) {
    const { person, level, kind, at, note: words } = story.verdict;
    list.append(make("dt", { textContent: t("verdict") }), make("dd", {}, `${named("verdict", kind)}: ${t("level")} ${level}. ${visible(person)}, ${moment(at)}`, words ? quoted(words) : ""));
  }
  return list;
}

/** @param {Desk} desk @param {Story} story */
function actions(desk, story) {
  /** @param {string} path @param {unknown} [body] */
  const act = async (path, body) => {
    await desk.ask("POST", `/api/lead/items/${story.id}/${path}`, body);
    desk.say(t("done"));
    await showStory(desk, story.id);
    if (path === "reopen") desk.again();
  };
  if (story.status === "unavailable") return make("div", { className: "row" }, button(t("reopen"), () => act("reopen")));
  if (story.gold === "open") return make("div", {}, button(t("no_gold"), () => act("gold", { gold: false })), note(t("gold_why")));
  if (story.status === "decided" && story.level !== null) return make("div", {}, button(t("mark_gold"), () => act("gold", { gold: true })), note(t("gold_why")));
  return "";
}

/** @param {Desk} desk @param {Story} story */
function cast({ project }, { votes, parts }) {
  const reasons = project.declaration.skip_reasons;
  /** @type {(string | Node)[][]} */
  const rows = votes.map(({ person, level, answer, revision, at, shown_ms, hidden_ms, device }) => [
    visible(person), level !== null ? String(level) : answer ? scores(answer) : t("withdrawn_vote"), when(at), String(revision), seconds(shown_ms), seconds(hidden_ms),
    device ? named("device", device) : shown_ms === null ? t("elsewhere") : "–",
  ]);
  /** @param {string} state @param {string | null} reason */
  const told = (state, reason) => [t(state === "returned" ? "returned_part" : state), reason && (said(reasons.find(({ name }) => name === reason)?.title) || reason)].filter(Boolean).join(": ");
  rows.push(...parts.map(({ person, state, reason, at }) => [visible(person), told(state, reason), when(at), "", "", "", ""]));
  if (!rows.length) return note(t("votes_none"));
  return table(t("given"), [t("who"), t("given"), t("time"), t("revision"), t("shown_for"), t("hidden_for"), t("device")], rows);
}

/** @param {Record<string, Record<string, number>>} answer */
const scores = (answer) => Object.entries(answer).map(([part, own]) => `${visible(part)}: ${Object.entries(own).map(([name, score]) => `${visible(name)} ${score}`).join(", ")}`).join("; ");
