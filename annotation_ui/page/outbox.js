// Keeps what the person has answered until the server has it. It lies in the browser's storage, so that it outlives
// the tab; requests leave one at a time, in order, and each carries the same key however often it is sent.

import { ask, Refused } from "./server.js";

/** @typedef {import("./types").Waiting} Waiting */

const LONGEST = 30000; // milliseconds between two attempts

export class Outbox {
  /**
   * @param {number} person
   * @param {{sent: (entry: Waiting, answer: any) => void, refused: (entry: Waiting, error: Refused) => void,
   *   trouble: (error: Refused) => void, changed: (count: number) => void}} told
   */
  constructor(person, told) {
    this.prefix = `outbox/${person}/`;
    this.lock = `outbox-${person}`;
    this.told = told;
    this.busy = false;
    this.again = false;
    this.stopped = false;
    this.failures = 0;
    /** @type {number | undefined} */
    this.timer = undefined;
    /** @type {string | null} the entry that is on its way */
    this.sending = null;
    /** @type {Map<string, string>} what storage did not take */
    this.unstored = new Map();
    this.hasten = () => this.send();
    addEventListener("online", this.hasten);
  }

  /** The keys of what waits, oldest first. */
  keys() {
    const stored = [];
    try {
      for (let i = 0; i < localStorage.length; i++) {
        const key = localStorage.key(i);
        if (key?.startsWith(this.prefix)) stored.push(key);
      }
    } catch { /* without storage, only this tab remembers */ }
    return [...new Set([...stored, ...this.unstored.keys()])].sort();
  }

  get count() {
    return this.keys().length;
  }

  /** @param {string} key @returns {Waiting | null} */
  read(key) {
    try {
      const text = this.unstored.get(key) ?? localStorage.getItem(key);
      return text === null ? null : JSON.parse(text);
    } catch {
      return null;
    }
  }

  /** @param {string} key @param {Waiting} entry */
  write(key, entry) {
    const text = JSON.stringify(entry);
    try {
      localStorage.setItem(key, text);
      this.unstored.delete(key);
    } catch {
      this.unstored.set(key, text);
    }
  }

  /** @param {string} key */
  forget(key) {
    this.unstored.delete(key);
    try {
      localStorage.removeItem(key);
    } catch { /* it was never there */ }
  }

  /**
   * Returns the items of a project about which something waits.
   * @param {number} project
   */
  items(project) {
    const found = new Set();
    for (const key of this.keys()) {
      const entry = this.read(key);
      if (entry?.project === project) found.add(entry.item);
    }
    return /** @type {Set<number>} */ (found);
  }

  /**
   * Adds a request and sends it as soon as may be; returns its key here.
   * @param {Omit<Waiting, "attempts">} entry
   */
  add(entry) {
    // A clock that is set back must not put what is newer before what is older.
    const newest = Number(this.keys().at(-1)?.slice(this.prefix.length) ?? 0);
    const key = this.prefix + String(Math.max(Date.now(), newest + 1)).padStart(15, "0");
    this.write(key, { ...entry, attempts: 0 });
    this.told.changed(this.count);
    this.send();
    return key;
  }

  /**
   * Takes a request back that was never sent; returns whether it was there and unsent.
   * @param {string} key
   */
  cancel(key) {
    const entry = this.read(key);
    if (entry === null || entry.attempts > 0 || this.sending === key) return false;
    this.forget(key);
    this.told.changed(this.count);
    return true;
  }

  /** Sends what waits, in order, and tries again later where it cannot. */
  async send() {
    this.again = true;
    if (this.busy || this.stopped) return;
    this.busy = true;
    clearTimeout(this.timer);
    try {
      while (this.again && !this.stopped) {
        this.again = false;
        // Two tabs of one browser share the outbox: one of them sends at a time.
        if (navigator.locks) await navigator.locks.request(this.lock, () => this.drain());
        else await this.drain();
      }
    } finally {
      this.busy = false;
    }
  }

  async drain() {
    for (let key; !this.stopped && (key = this.keys()[0]) !== undefined;) {
      const entry = this.read(key);
      if (entry === null) {
        this.forget(key);
        continue;
      }
      if (!await this.attempt(key, entry)) return;
    }
  }

  /** @param {string} key @param {Waiting} entry */
  async attempt(key, entry) {
    this.sending = key;
    this.write(key, { ...entry, attempts: entry.attempts + 1 });
    try {
      const answer = await ask("POST", `/api/projects/${entry.project}/${entry.kind}`, entry.body);
      this.failures = 0;
      this.forget(key);
      this.told.sent(entry, answer);
    } catch (error) {
      const refused = error instanceof Refused ? error : new Refused(0, "offline", String(error));
      // A server that fails on this one request again and again must not hold up all others.
      if (refused.passing && !(refused.status === 500 && entry.attempts >= 5)) {
        this.wait(refused);
        return false;
      }
      this.forget(key);
      this.told.refused(entry, refused);
    } finally {
      this.sending = null;
      this.told.changed(this.count);
    }
    return true;
  }

  /** @param {Refused} refused */
  wait(refused) {
    const pause = Math.max(refused.wait, Math.min(LONGEST, 1000 * 2 ** this.failures));
    this.failures += 1;
    this.again = false;
    this.told.trouble(refused);
    if (refused.status !== 401) this.timer = setTimeout(this.hasten, pause);
  }

  /** Sends nothing any more: another tab has taken over, or another person has signed in. */
  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    removeEventListener("online", this.hasten);
  }
}

/** Returns a random UUID, by which the server knows a request again; crypto.randomUUID is missing on pages served by HTTP. */
export function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
