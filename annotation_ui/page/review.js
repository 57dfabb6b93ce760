// Review: a reviewer decides ties and what someone called unsafe. Nobody is told who voted what.

import { $, make } from "./dom.js";
import { Levels } from "./levels.js";
import { hint, notice, say } from "./notices.js";
import { uuid } from "./outbox.js";
import { Pictures } from "./pictures.js";
import { ask, Refused } from "./server.js";
import { t } from "./strings.js";

/** @typedef {import("./types").Answer} Answer */
/** @typedef {import("./types").Waiting} Waiting */
/** @typedef {import("./desk.js").Desk} Desk */

const AGAIN = 30000;

export class Review {
  /** @param {Desk} desk @param {import("./types").Project} project */
  constructor(desk, project) {
    this.desk = desk;
    this.project = project;
    this.pictures = new Pictures();
    this.note = make("input", { type: "text", maxLength: 500, autocomplete: "off", className: "note" });
    this.panel = desk.panel(project.declaration, (answer) => this.answer(answer));
    if (this.panel instanceof Levels) this.panel.confirm = true; // other tasks have nothing to decide
    this.closed = false;
    /** @type {import("./types").Reviewed | null} */
    this.reviewed = null;
    this.count = 0;
    /** @type {number | undefined} */
    this.timer = undefined;
    /** @type {Set<number>} what cannot be shown */
    this.broken = new Set();
    /** @type {Set<number>} what is left for later */
    this.later = new Set();
    this.draw();
    this.next();
  }

  draw() {
    this.panel.draw();
    this.note.placeholder = this.note.ariaLabel = t("note");
    $("panel").querySelector("fieldset")?.after(this.note);
  }

  /** Asks for the next item that waits for a verdict. */
  async next() {
    clearTimeout(this.timer);
    $("panel").hidden = true;
    $("banner").hidden = true;
    this.desk.stage.tell("loading");
    try {
      let reviewed = await this.ask();
      for (const kept of [1, 0]) {
        if (reviewed.item || this.later.size <= kept) continue;
        this.later = new Set([...this.later].slice(this.later.size - kept)); // now it is later; what was just left comes last
        reviewed = await this.ask();
      }
      if (this.closed) return;
      this.desk.reached();
      await this.show(reviewed);
    } catch (error) {
      if (this.closed) return;
      if (error instanceof Refused) this.desk.trouble(error);
      this.desk.stage.tell(error instanceof Refused && error.status === 0 ? "offline" : "wrong", { message: error instanceof Error ? error.message : "" });
      this.timer = setTimeout(() => this.next(), 5000);
    }
  }

  /** @returns {Promise<import("./types").Reviewed>} */
  ask() {
    const but = [...this.broken, ...this.later].slice(-100).map((id) => `&but=${id}`).join("");
    return ask("GET", `/api/projects/${this.project.id}/reviews/next?kind=any${but}`);
  }

  /** @param {import("./types").Reviewed} reviewed */
  async show(reviewed) {
    this.reviewed = reviewed;
    const { item, kind, waiting } = reviewed, { stage } = this.desk;
    $("progress").textContent = t("review_waiting", { n: Object.values(waiting).reduce((sum, n) => sum + n, 0) });
    const loaded = item && this.pictures.of(item);
    await loaded?.load();
    if (this.closed) return;
    if (!item || !loaded) {
      stage.tell("review_done", {}, [this.desk.button("back_to_voting", () => this.desk.begin())]);
      this.timer = setTimeout(() => this.next(), AGAIN);
      return;
    }
    if (!loaded.ready) {
      notice(t("unavailable", { message: loaded.error?.message || t(loaded.error?.code ?? "offline") }));
      this.broken.add(item.id);
      this.timer = setTimeout(() => this.next(), 2000);
      return;
    }
    stage.show(loaded);
    this.note.value = "";
    this.panel.show(item, null);
    $("panel").hidden = false;
    this.banner(kind ?? "");
  }

  /** @param {string} kind */
  banner(kind) {
    $("banner").textContent = t(`why_${kind}`);
    $("banner").hidden = false;
    say(t(`why_${kind}`));
  }

  /** @param {Answer} answer */
  answer(answer) {
    const item = this.reviewed?.item;
    if (!item || $("panel").hidden) return;
    if (this.desk.stage.veiled) {
      hint(t("reveal_first"));
      return;
    }
    const body = { item: item.id, level: answer.level, request: uuid(), note: this.note.value.trim() || null };
    this.desk.outbox.add({ kind: "decisions", project: this.project.id, item: item.id, body });
    this.reviewed = null;
    $("panel").hidden = true;
    $("banner").hidden = true;
    this.desk.stage.tell("loading");
    say(t("decided"));
  }

  /** @param {Waiting} entry @param {any} _answer */
  sent(entry, _answer) {
    if (entry.kind === "decisions") this.next();
  }

  /** @param {Waiting} entry @param {Refused} error */
  refused(entry, error) {
    if (entry.kind !== "decisions") return;
    notice(t(["decided", "own_vote"].includes(error.code) ? `refused_${error.code}` : "refused_other", { message: error.message }));
    this.next();
  }

  /** @param {import("./keys.js").Action} action */
  act(action) {
    const item = this.reviewed?.item;
    if (!item || $("panel").hidden) return;
    if (action === "submit") this.panel.submit();
    else if (action === "skip") {
      this.later.add(item.id);
      this.next();
    }
  }

  /** @param {string} digit */
  digit(digit) {
    if (!this.reviewed?.item || $("panel").hidden) return;
    this.panel.digit(digit);
    if (this.panel instanceof Levels && this.panel.chosen !== null) say(t("chosen", { answer: this.panel.name({ level: this.panel.chosen, answer: null }) }));
  }

  /** @param {number} _by */
  leaf(_by) {}
  touch() {}
  revealed() {}
  undo() {}

  redraw() {
    this.draw();
    const { reviewed } = this;
    if (reviewed?.item) this.banner(reviewed.kind ?? "");
    else this.desk.stage.tell("loading");
    if (reviewed && !reviewed.item) this.next();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
  }
}
