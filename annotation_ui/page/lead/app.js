// The lead's page: who is here, which project, and which of the views; each view asks for what it shows.

import { $, make, visible } from "../dom.js";
import { remembered, store } from "../preferences.js";
import { ask, Refused, setSession } from "../server.js";
import { button, focusOn } from "./parts.js";
import { language, said, setLanguage, t } from "./strings.js";

/** @typedef {import("./types").Me} Me */
/** @typedef {import("./types").Desk} Desk */

const EVERY = 15000; // progress is asked for anew
/** @typedef {(desk: Desk, place: HTMLElement, asked: URLSearchParams) => Promise<void>} View */
/** @type {Record<string, () => Promise<View>>} */
const VIEWS = {
  progress: async () => (await import("./progress.js")).showProgress, agreement: async () => (await import("./agreement.js")).showAgreement,
  people: async () => (await import("./people.js")).showPeople, images: async () => (await import("./images.js")).showImages,
  log: async () => (await import("./log.js")).showLog,
};

let preferences = remembered(), drawn = 0;
/** @type {Desk} */
let desk;

/** The view that the address names, and what is asked of it. */
function wanted() {
  const [name, query = ""] = location.hash.slice(1).split("?");
  return { name: name in VIEWS ? name : "progress", asked: new URLSearchParams(query) };
}

/**
 * Shows the view. What is on the page stays until the new content is there.
 * @param {boolean} [isAgain] whether the same view is only drawn anew
 */
async function show(isAgain = false) {
  const { name, asked } = wanted(), turn = ++drawn, place = make("div");
  const focused = document.activeElement?.getAttribute("name");
  for (const link of $("views").querySelectorAll("a")) {
    link.ariaCurrent = link.hash === `#${name}` ? "page" : null;
    if (link.ariaCurrent) link.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  document.title = `${t(name)} · ${t("title")}`;
  if (!isAgain) $("content").replaceChildren(make("p", { className: "note", textContent: t("loading") }));
  if (name === "images") $("content").replaceChildren(place); // comes a page at a time
  try {
    await (await VIEWS[name]())(desk, place, asked);
    if (turn === drawn && name !== "images") $("content").replaceChildren(place);
    if (turn === drawn && focused) focusOn(place.querySelector(`[name="${CSS.escape(focused)}"]`));
  } catch (error) {
    const refused = error instanceof Refused ? error : new Refused(0, "offline", ""); // the view's script did not come
    if (turn === drawn && !isAgain) $("content").replaceChildren(make("p", { textContent: told(refused) }), button(t("again"), () => show()));
    if (refused !== error) throw error;
  }
}

/** @param {Refused} error */
const told = (error) => (error.status === 0 ? t("offline") : error.status === 401 ? t("sign_in") : t("failed", { message: error.message }));

/** @param {string} text */
function say(text) {
  $("notice").textContent = text;
}

/** @param {string} text @param {string} link */
const only = (text, link) => $("content").replaceChildren(make("p", { textContent: t(text) }), make("p", {}, make("a", { className: "button", href: "/", textContent: t(link) })));

/** Lets language and colours be as the person wants them. */
async function apply() {
  document.documentElement.dataset.theme = preferences.theme ?? "auto";
  await setLanguage(preferences.language ?? language);
  if (!desk) return;
  $("views").replaceChildren(...Object.keys(VIEWS).map((name) => make("a", { href: `#${name}`, textContent: t(name) })));
  /** @type {HTMLSelectElement} */
  const select = $("project");
  select.replaceChildren(...desk.me.projects.map(({ id, declaration }) => make("option", { value: String(id), textContent: visible(said(declaration.title)), selected: id === desk.project.id })));
}

/** @param {Me} me */
async function enter(me) {
  setSession(me);
  preferences = { ...preferences, ...me.person.preferences };
  const known = Number(sessionStorage.getItem("project")), project = me.projects.find(({ id }) => id === known) ?? me.projects[0];
  if (me.person.role !== "lead" || !project) {
    await apply();
    only(me.person.role === "lead" ? "no_project" : "not_lead", "to_vote");
    return;
  }
  desk = {
    me, project, blur: preferences.blur !== false, say, again: () => show(true),
    async ask(method, path, body) {
      try {
        return await ask(method, path, body);
      } catch (error) {
        if (error instanceof Refused && method !== "GET") say(told(error));
        throw error;
      }
    },
  };
  $("team").textContent = visible(me.team);
  $("tune").hidden = !me.tune;
  $("views").hidden = false;
  /** @type {HTMLSelectElement} */
  const select = $("project");
  select.hidden = me.projects.length < 2;
  select.addEventListener("change", () => {
    sessionStorage.setItem("project", select.value);
    desk.project = me.projects.find(({ id }) => String(id) === select.value) ?? desk.project;
    show();
  });
  await apply();
  await show();
}

$("language").addEventListener("click", async () => {
  preferences.language = language === "en" ? "zh" : "en";
  await apply();
  if (!desk) return;
  store(preferences);
  show(true);
});
$("jump").addEventListener("click", (event) => {
  event.preventDefault(); // the address names the view
  $("content").focus();
});
addEventListener("hashchange", () => desk && show());
addEventListener("unhandledrejection", ({ reason }) => {
  if (reason instanceof Refused && reason.status === 401) say(t("sign_in"));
});
setInterval(() => {
  const isRead = $("content").contains(document.activeElement) || $("content").querySelector("details[open]");
  if (desk && !document.hidden && wanted().name === "progress" && !isRead) show(true);
}, EVERY);

async function start() {
  await apply();
  try {
    await enter(await ask("GET", "/api/me"));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 401) only("sign_in", "to_sign_in");
    else $("content").replaceChildren(make("p", { textContent: told(error) }), button(t("again"), () => location.reload()));
  }
}

start();
