// Voting: shows the next item, takes the answer in, and goes on at once; takes answers back, and leafs through them.

import { $ } from "./dom.js";
import { banner, leaf } from "./leafing.js";
import { hint, notice, say } from "./notices.js";
import { uuid } from "./outbox.js";
import { Past } from "./past.js";
import { Pictures } from "./pictures.js";
import { Queue } from "./queue.js";
import { Refused } from "./server.js";
import { t } from "./strings.js";
import { Timing } from "./timing.js";

/** @typedef {import("./types").Item} Item */
/** @typedef {import("./types").Answer} Answer */
/** @typedef {import("./types").Answered} Answered */
/** @typedef {import("./types").Waiting} Waiting */
/** @typedef {import("./desk.js").Desk} Desk */

const MOST = 20; // answers that may wait unsaved

export class Voting {
  /** @param {Desk} desk @param {import("./types").Project} project */
  constructor(desk, project) {
    this.desk = desk;
    this.project = project;
    this.declaration = project.declaration;
    this.pictures = new Pictures();
    this.past = new Past(project.id, () => this.unsent());
    this.timing = new Timing();
    this.pastTiming = new Timing(); // of an earlier item that is shown instead
    /** @type {number | null} the item whose time is measured */
    this.timed = null;
    this.leaving = false;
    this.asked = 0; // steps in the history that were asked for meanwhile
    this.votes = 0; // since the last claim
    this.panel = desk.panel(this.declaration, (answer) => this.answer(answer));
    this.queue = new Queue(project.id, this.pictures, {
      changed: (claimed) => this.changed(claimed),
      loaded: (loaded) => this.loaded(loaded),
      lost: () => notice(t("lost")),
      trouble: (error) => this.trouble(error),
      unsent: () => this.unsent(),
    });
    /** @type {Item | null} what is in view */
    this.item = null;
    this.error = "";
    this.show();
    this.queue.refill();
  }

  /** The items of this project with something in the outbox. */
  unsent() {
    return this.desk.outbox.items(this.project.id);
  }

  /** @param {boolean} claimed */
  changed(claimed) {
    if (claimed) {
      this.votes = this.unsent().size;
      this.error = "";
      this.desk.reached();
    }
    if (this.past.place === null) this.show();
    this.progress();
  }

  /** @param {Refused} error */
  trouble(error) {
    this.error = error.status === 0 ? "offline" : error.message;
    this.desk.trouble(error);
  }

  /**
   * A picture has come, or cannot be had.
   * @param {import("./pictures.js").Loaded} loaded
   */
  loaded({ item, error }) {
    if (error && !error.passing) {
      notice(t("unavailable", { message: error.message || t(error.code) }));
      this.desk.free(this.project.id, item.lease);
      this.queue.remove(item.id);
    } else if (error) this.desk.trouble(error);
    if (this.past.place === null) this.show();
  }

  /** Shows the item whose turn it is, or why there is none. */
  show() {
    const item = this.queue.items[0], { last } = this.queue;
    this.past.place = null;
    $("banner").hidden = true;
    if (item) this.present(item, null);
    else {
      this.item = this.timed = null;
      this.timing.stop();
      $("panel").hidden = true;
      const told = !last || this.queue.asking ? "loading" : last.state === "ready" ? "nothing" : last.state;
      const state = this.error === "offline" ? "offline" : this.error ? "wrong" : told;
      const guide = state === "failed" ? [this.desk.button("to_guide", () => this.desk.guide())] : [];
      this.desk.stage.tell(state, { message: this.error }, guide);
    }
  }

  /** @param {Item} item @param {Answered | null} answered */
  present(item, answered) {
    const loaded = this.pictures.of(item), { stage } = this.desk;
    if (!loaded.ready) {
      this.item = null;
      stage.tell(loaded.error?.status === 0 ? "offline" : "loading");
      this.panel.disable(true);
      this.panel.show(item, null);
      return;
    }
    if (this.item === item && stage.loaded === loaded) return;
    if (!answered && this.timed !== item.id) this.timing.reset();
    if (!answered) this.timed = item.id;
    this.item = item;
    stage.show(loaded);
    $("panel").hidden = false;
    this.panel.show(item, answered?.answer ?? null);
    this.panel.disable(answered !== null && !answered.changeable);
    if (!stage.veiled) this.clock.start();
  }

  get clock() {
    return this.past.place === null ? this.timing : this.pastTiming;
  }

  touch() { this.queue.touch(); }
  revealed() { this.clock.start(); }

  /** @param {number} by 1 is earlier, -1 later */
  leaf(by) { leaf(this, by); }

  /**
   * Takes an answer in: it is stored here, sent when it can be, and the next item shows at once.
   * @param {Answer} answer
   */
  answer(answer) {
    const { item } = this, { shown } = this.past;
    if (!item || !this.may()) return;
    const before = shown?.answer ?? null;
    if (shown?.skipped) this.send("unskip", item, { lease: item.lease });
    const times = { ...this.clock.read(), device: this.desk.device.last };
    const body = { lease: item.lease, request: uuid(), revision: item.revision, ...answer, ...times };
    const key = this.send("votes", item, body);
    item.revision += 1;
    if (shown) {
      Object.assign(shown, { answer, key: shown.skipped ? null : key, before, skipped: null });
      this.pastTiming.reset();
      this.pastTiming.start();
      if (!before) this.count(shown);
      banner(this, shown);
      say(t("changed_to", { answer: this.panel.name(answer) }));
      return;
    }
    this.count(this.past.add({ item, answer, skipped: null, changeable: true, key, before: null }));
    this.next(item, t("next_picture", { answer: this.panel.name(answer) }));
  }

  /** @param {Answered} answered what has just got its first answer */
  count(answered) {
    answered.counted = true;
    this.votes += 1;
    this.desk.session.vote();
    this.progress();
  }

  /** Whether an answer may be given now; otherwise tells why not. */
  may() {
    if (this.desk.stage.veiled) hint(t("reveal_first"));
    else if (this.desk.outbox.count > MOST) notice(t("too_many"));
    else return true;
    this.panel.show(/** @type {Item} */ (this.item), this.past.shown?.answer ?? null);
    return false;
  }

  /** @param {Item} item @param {string} told */
  next(item, told) {
    this.queue.remove(item.id);
    this.show();
    this.progress();
    say(told);
  }

  /** @param {Waiting["kind"]} kind @param {Item} item @param {Record<string, unknown>} body */
  send(kind, item, body) {
    return this.desk.outbox.add({ kind, project: this.project.id, item: item.id, body: { item: item.id, ...body } });
  }

  /** @param {string} reason */
  skip(reason) {
    const { item } = this;
    if (!item || this.past.place !== null) return;
    const key = this.send("skip", item, { lease: item.lease, reason });
    this.past.add({ item, answer: null, skipped: reason, changeable: true, key, before: null });
    this.next(item, t("skipped"));
  }

  /** Takes back what is shown of the history, or else the latest answer or skip. */
  async undo() {
    let answered = this.past.shown ?? this.past.latest;
    if (!answered && !this.desk.outbox.count) {
      await this.past.load(false).catch(() => undefined);
      answered = this.past.all[0] ?? null;
    }
    if (!answered || !answered.changeable) {
      hint(t(answered ? "refused_decided" : "nothing_to_undo"));
      return;
    }
    const { item, key, skipped } = answered, unsent = key !== null && this.desk.outbox.cancel(key);
    if (skipped !== null) {
      if (!unsent) this.send("unskip", item, { lease: item.lease });
    } else {
      if (unsent) item.revision -= 1;
      this.votes -= 1;
      if (!unsent || answered.before) {
        this.send("withdraw", item, { lease: item.lease, request: uuid(), revision: item.revision });
        item.revision += 1;
      }
      if (answered.counted) this.desk.session.undo();
    }
    this.past.remove(item.id);
    this.queue.putBack(item);
    this.item = this.timed = null;
    this.show();
    if (answered.answer) this.panel.restore(answered.answer);
    this.progress();
    say(t("taken_back"));
  }

  /**
   * The server has stored something.
   * @param {Waiting} entry
   * @param {any} answer
   */
  sent(entry, answer) {
    const item = [...this.queue.items, ...this.past.all.map((one) => one.item)].find(({ id }) => id === entry.item);
    if (this.queue.failures) this.queue.reached();
    if (item && answer.revision && !this.unsent().has(entry.item)) item.revision = answer.revision;
    if (!answer.test) return;
    if (answer.test.state === "passed") notice(t("test_passed", answer.test));
    this.queue.refill();
  }

  /**
   * The server has refused something for good.
   * @param {Waiting} entry
   * @param {Refused} error
   */
  refused(entry, error) {
    if (entry.kind === "withdraw" || entry.kind === "unskip") this.queue.remove(entry.item);
    else if (error.code === "lease_lost") this.queue.away.delete(entry.item);
    this.past.remove(entry.item);
    if (error.code === "no_vote") return; // the vote was refused before, which has been told
    const known = ["lease_lost", "decided", "changed"].includes(error.code);
    notice(t(known ? `refused_${error.code}` : "refused_other", { message: error.message }));
    if (this.past.place === null) this.show();
  }

  progress() {
    const { last } = this.queue;
    const left = last?.left == null ? null : Math.max(0, last.left - this.votes);
    const test = last?.testing && last.test ? { answered: last.test.answered + this.votes, of: last.test.of } : null;
    this.desk.progress(left, test);
  }

  /** @param {import("./keys.js").Action} action */
  act(action) {
    if (action === "undo") this.undo();
    else if (action === "skip" && this.item && this.past.place === null) this.desk.askReason(this.declaration, (reason) => this.skip(reason));
    else if (action === "older") leaf(this, 1);
    else if (action === "newer") leaf(this, -1);
    else if (action === "submit" && this.item) this.panel.submit();
    else if (action === "up" || action === "down") this.panel.move(action === "up" ? -1 : 1);
  }

  /** @param {string} digit */
  digit(digit) {
    if (this.item && (this.past.shown === null || this.past.shown.changeable)) this.panel.digit(digit);
  }

  /** The language has changed. */
  redraw() {
    this.item = null;
    this.panel.draw();
    const { shown } = this.past;
    if (shown) {
      this.present(shown.item, shown);
      banner(this, shown);
    } else this.show();
    this.progress();
  }

  close() {
    this.queue.close();
    this.timing.close();
    this.pastTiming.close();
  }
}
