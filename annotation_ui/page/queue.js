// The items that this person holds: the first is on the screen, the pictures of the next ones are decoded ahead.

import { ask, leave, Refused } from "./server.js";

/** @typedef {import("./types").Item} Item */
/** @typedef {import("./types").Claimed} Claimed */

const HELD = 5; // items that are asked for
const FEW = 4; // with fewer, more are asked for
const AGAIN = 30000; // milliseconds after which an empty queue looks again
const RENEWAL = 120000;
const ACTIVE = 10 * 60000; // without an input for so long, the person is away

export class Queue {
  /**
   * @param {number} project
   * @param {import("./pictures.js").Pictures} pictures
   * @param {{changed: (claimed: boolean) => void, loaded: (loaded: import("./pictures.js").Loaded) => void, lost: () => void,
   *   trouble: (error: Refused) => void, unsent: () => Set<number>}} told
   */
  constructor(project, pictures, told) {
    this.path = `/api/projects/${project}`;
    this.pictures = pictures;
    this.told = told;
    /** @type {Item[]} */
    this.items = [];
    /** @type {Set<number>} items that are answered here, or whose picture cannot be shown */
    this.away = new Set();
    /** @type {Claimed | null} the last answer */
    this.last = null;
    this.failures = 0;
    this.closed = false;
    this.asking = false;
    /** @type {number | undefined} */
    this.timer = undefined;
    /** @type {number | undefined} */
    this.later = undefined;
    this.input = Date.now();
    this.renewed = Date.now();
    this.pulse = setInterval(() => this.renew(), 15000);
    this.reached = () => {
      this.failures = 0;
      this.refill();
      this.preload();
    };
    addEventListener("online", this.reached);
  }

  /** Asks for more items if there are few. */
  async refill() {
    if (this.asking || this.closed || this.items.length >= FEW) return;
    this.asking = true;
    clearTimeout(this.timer);
    try {
      // What is answered but not yet stored counts as held on the server.
      const wanted = Math.min(10, HELD + this.told.unsent().size);
      const claimed = /** @type {Claimed} */ (await ask("POST", `${this.path}/claim`, { wanted }));
      if (this.closed) return;
      this.last = claimed;
      this.failures = 0;
      this.renewed = Date.now();
      const known = new Set(this.items.map((item) => item.id)), unsent = this.told.unsent();
      this.items.push(...claimed.items.filter(({ id }) => !known.has(id) && !this.away.has(id) && !unsent.has(id)));
      if (claimed.state === "failed") this.items = [];
    } catch (error) {
      this.failures += 1;
      if (!this.closed && error instanceof Refused) this.told.trouble(error);
    } finally {
      this.asking = false;
    }
    if (this.closed) return;
    if (this.items.length === 0 || this.failures) {
      this.timer = setTimeout(() => this.refill(), this.failures ? Math.min(AGAIN, 1000 * 2 ** this.failures) : AGAIN);
    }
    this.told.changed(this.failures === 0);
    this.preload();
  }

  /** Loads the pictures of the item in view first, then those of the next ones together; tries again what failed. */
  async preload() {
    clearTimeout(this.later);
    for (const item of this.items.slice(0, 1)) await this.load(item);
    await Promise.all(this.items.slice(1).map((item) => this.load(item)));
    if (this.closed || this.items.every((item) => !this.pictures.of(item).error)) return;
    clearTimeout(this.later);
    this.later = setTimeout(() => this.preload(), 3000);
  }

  /** @param {Item} item */
  async load(item) {
    const loaded = this.pictures.of(item), wasReady = loaded.ready;
    await loaded.load();
    if (!wasReady && !this.closed && this.items.includes(item)) this.told.loaded(loaded);
  }

  /**
   * Takes an item out, since it is answered or cannot be shown.
   * @param {number} id
   */
  remove(id) {
    this.away.add(id);
    this.items = this.items.filter((item) => item.id !== id);
    this.preload();
    this.refill();
  }

  /**
   * Puts an item back in front, since its vote is taken back.
   * @param {Item} item
   */
  putBack(item) {
    this.away.delete(item.id);
    this.items = [item, ...this.items.filter(({ id }) => id !== item.id)];
  }

  /** Renews the leases while the person is here; what has gone to others meanwhile is taken out. */
  async renew() {
    const now = Date.now();
    if (document.hidden || now - this.renewed < RENEWAL || now - this.input > ACTIVE || !this.items.length) return;
    this.renewed = now;
    const asked = this.items.slice(), unsent = this.told.unsent();
    try {
      const { renewed } = await ask("POST", `${this.path}/renew`, { leases: asked.map((item) => item.lease) });
      const kept = new Set(renewed), gone = asked.filter(({ id, lease }) => !kept.has(lease) && !unsent.has(id));
      if (!gone.length || this.closed) return;
      if (gone.some(({ id }) => id === this.items[0]?.id)) this.told.lost();
      this.items = this.items.filter((item) => !gone.includes(item));
      this.told.changed(false);
      this.refill();
    } catch { /* the next beat tries again */ }
  }

  /** Notes that the person is here; after an absence the leases are renewed at once. */
  touch() {
    this.input = Date.now();
    this.renew();
  }

  /** Gives the items back while the page closes, but for those with something in the outbox. */
  release() {
    const unsent = this.told.unsent();
    const leases = this.items.filter(({ id }) => !unsent.has(id)).map((item) => item.lease);
    if (leases.length) leave(`${this.path}/release`, { leases });
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    clearTimeout(this.later);
    clearInterval(this.pulse);
    removeEventListener("online", this.reached);
  }
}
