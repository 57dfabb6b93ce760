// What voting and review share: who works here, what is in view, how things are told, and what the person prefers.

import { askReason } from "./dialogs.js";
import { $, make } from "./dom.js";
import { Levels } from "./levels.js";
import { goOn, hint, notice, say, trouble, waiting } from "./notices.js";
import { remembered, store } from "./preferences.js";
import { leave, Refused } from "./server.js";
import { Session } from "./session.js";
import { Stage } from "./stage.js";
import { language, said, setLanguage, t } from "./strings.js";
import { Device } from "./timing.js";

/** @typedef {import("./types").Me} Me */
/** @typedef {import("./types").Answer} Answer */
/** @typedef {import("./types").Declaration} Declaration */

/**
 * Waits for a module that voting on levels does not need, and tells if it cannot be had.
 * @template T
 * @param {Promise<T>} loading
 */
export async function lazily(loading) {
  try {
    return await loading;
  } catch (error) {
    notice(t("offline_title"));
    throw error;
  }
}

export class Desk {
  constructor() {
    this.preferences = remembered();
    this.session = new Session();
    this.device = new Device();
    /** @type {import("./voting.js").Voting | import("./review.js").Review | null} */
    this.work = null;
    /** @type {typeof import("./scores.js").Scores | null} */
    this.Scores = null;
    this.signing = false;
    this.stopped = false;
    this.stage = new Stage({ swiped: (direction) => this.work?.leaf(direction), revealed: () => this.work?.revealed() });
    /** @type {import("./outbox.js").Outbox} */
    this.outbox = /** @type {any} */ (null);
    /** @type {Me} */
    this.me = /** @type {any} */ (null);
    /** @type {import("./types").Project | null} */
    this.project = null;
  }

  /** @param {Declaration} declaration @param {(answer: Answer) => void} answered */
  panel(declaration, answered) {
    const form = /** @type {HTMLFormElement} */ ($("panel"));
    document.body.dataset.layout = declaration.layout;
    form.replaceChildren();
    if (!this.Scores || declaration.answer === "level") return new Levels(form, declaration.levels, { answered });
    return new this.Scores(form, declaration, {
      answered, missing: (n) => hint(t("missing", { n })), step: () => say(t("second_step")),
    });
  }

  /**
   * Puts work on the desk instead of what lay there.
   * @param {import("./voting.js").Voting | import("./review.js").Review | null} work
   */
  put(work) {
    this.work = work;
  }

  clear() {
    this.work?.close();
    this.put(null);
  }

  /** Puts voting on the desk; the page does so. */
  async begin() {}

  /** The session has ended. */
  async signInAgain() {}

  async signOut() {}

  /** The server has answered. */
  reached() {
    if (this.outbox.failures) this.outbox.send();
    else trouble(null);
  }

  /** @param {Refused} error */
  trouble(error) {
    if (error.code === "other_person") location.reload(); // what waits is kept under the name of whose it is
    else if (error.status === 401) this.signInAgain();
    else if (error.status === 0) trouble("offline");
    else if (error.status === 429) trouble("busy");
    else if (error.status >= 500) trouble("storage", true);
    else notice(t("refused_other", { message: error.message }));
  }

  /**
   * Gives an item back whose picture cannot be shown.
   * @param {number} project
   * @param {string} lease
   */
  free(project, lease) {
    leave(`/api/projects/${project}/release`, { leases: [lease] });
  }

  async guide() {
    const { showGuide } = await lazily(import("./guide.js"));
    if (this.project) showGuide(this.project.id, this.project.declaration);
  }

  async help() {
    const { showHelp } = await lazily(import("./guide.js"));
    showHelp();
  }

  /** @param {Declaration} declaration @param {(reason: string) => void} chosen */
  askReason(declaration, chosen) {
    askReason(declaration, chosen);
  }

  /** @param {string} key @param {() => void} act */
  button(key, act) {
    const button = make("button", { type: "button", textContent: t(key) });
    button.addEventListener("click", act);
    return button;
  }

  /** @param {number | null} left @param {{answered: number, of: number} | null} test */
  progress(left, test) {
    const { votes, pace } = this.session, minutes = left ? this.session.minutes(left) : null, parts = [];
    if (test) parts.push(t("testing", test));
    parts.push(t("progress", { votes }));
    if (pace !== null) parts.push(t("pace", { n: pace.toLocaleString(language) }));
    if (minutes !== null && minutes < 100) parts.push(t("eta_minutes", { n: Math.max(1, minutes) }));
    else if (minutes !== null) parts.push(t("eta_hours", { n: Math.round(minutes / 60).toLocaleString(language) }));
    $("progress").textContent = parts.join(" · ");
  }

  /** Lets language, colours and blur be as the person wants them. */
  async apply() {
    const { theme = "auto", language: wanted = language, blur = true } = this.preferences;
    document.documentElement.dataset.theme = theme;
    this.preferences.language = wanted;
    await setLanguage(wanted);
    this.stage.blur = blur;
    const select = /** @type {HTMLSelectElement} */ ($("project")), projects = this.me?.projects ?? [];
    select.replaceChildren(...projects.map(({ id, declaration }) => make("option", { value: String(id), textContent: said(declaration.title) })));
    if (this.project) select.value = String(this.project.id);
    $("task").textContent = said(this.project?.declaration.title) || t("title");
    this.stage.veil();
    this.work?.redraw();
    if (this.outbox) waiting(this.outbox.count);
  }

  async otherLanguage() {
    this.preferences.language = language === "en" ? "zh" : "en";
    await this.apply();
    if (this.me && !this.signing) store(this.preferences);
  }

  async settings() {
    if (!this.me) return;
    const { showSettings } = await lazily(import("./settings.js"));
    showSettings(this.me, this.preferences, {
      changed: (preferences) => {
        this.preferences = preferences;
        store(preferences);
        return this.apply();
      },
      signOut: () => this.signOut(),
    });
  }

  /** @param {import("./keys.js").Action} action */
  act(action) {
    if (action === "help") this.help();
    else if (action === "guide") this.guide();
    else if (action === "reveal") this.stage.reveal();
    else if (!this.stage.act(action)) this.work?.act(action);
  }

  /** Reminds of a rest where one is due. */
  remind() {
    if (!this.session.restDue || this.preferences.rest === false || document.hidden) return;
    this.session.snooze(10);
    notice(t("rest"), [
      { label: t("rest_now"), act: () => this.session.rested() }, { label: t("rest_later"), act: () => this.session.snooze(10) },
      { label: t("rest_off"), act: () => {
        this.preferences.rest = false;
        store(this.preferences);
      } },
    ]);
  }

  input() {
    goOn();
    this.session.touch();
    this.work?.touch();
  }
}
