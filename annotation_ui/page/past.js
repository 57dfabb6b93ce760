// The person's own earlier answers, newest first: those of this page, then those the server remembers.

import { ask } from "./server.js";

/** @typedef {import("./types").Answered} Answered */
/** @typedef {import("./types").HistoryItem} HistoryItem */

/**
 * The person's answer that stands on an item.
 * @param {import("./types").Item} item
 * @returns {import("./types").Answer | null}
 */
export const answerOf = ({ level, answer }) => (level === null && answer === null ? null : { level, answer });

export class Past {
  /** @param {number} project @param {() => Set<number>} unsent */
  constructor(project, unsent) {
    this.path = `/api/projects/${project}/history`;
    this.unsent = unsent;
    /** @type {Answered[]} of this page, newest last */
    this.own = [];
    /** @type {Answered[]} of the server, newest first */
    this.stored = [];
    /** @type {string | null} */
    this.next = null;
    /** @type {number | null} what is shown, counted from the newest; null for the present item */
    this.place = null;
  }

  /** All that is known, newest first. */
  get all() {
    const own = new Set(this.own.map(({ item }) => item.id));
    return [...this.own].reverse().concat(this.stored.filter(({ item }) => !own.has(item.id)));
  }

  get shown() {
    return this.place === null ? null : this.all[this.place] ?? null;
  }

  get latest() {
    return this.own.at(-1) ?? null;
  }

  /** @param {Answered} answered @returns the same */
  add(answered) {
    this.remove(answered.item.id);
    this.own.push(answered);
    if (this.own.length > 500) this.own.shift();
    return answered;
  }

  /** @param {number} id */
  remove(id) {
    this.own = this.own.filter(({ item }) => item.id !== id);
    this.stored = this.stored.filter(({ item }) => item.id !== id);
  }

  /**
   * Asks the server for the newest, or for older ones; what waits in the outbox is newer than what it answers.
   * @param {boolean} older
   */
  async load(older) {
    if (older && !this.next) return;
    const before = older ? `&before=${encodeURIComponent(String(this.next))}` : "";
    const page = /** @type {{items: HistoryItem[], next: string | null}} */ (await ask("GET", `${this.path}?limit=50${before}`));
    this.next = page.next;
    const found = page.items.map((item) => ({ item, answer: answerOf(item), skipped: item.skipped, changeable: item.changeable, key: null, before: null }));
    if (!older) this.stored = [];
    const known = new Set(this.stored.map(({ item }) => item.id));
    this.stored.push(...found.filter(({ item }) => !known.has(item.id)));
    const unsent = this.unsent();
    for (const own of this.own) {
      const now = found.find(({ item }) => item.id === own.item.id);
      if (!now || unsent.has(own.item.id)) continue;
      Object.assign(own, { changeable: now.changeable, answer: now.answer, skipped: now.skipped });
      own.item.revision = now.item.revision;
      own.item.lease = now.item.lease;
    }
  }
}
