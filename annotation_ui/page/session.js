// What this sitting has brought: votes, pace, what is left in time, and when a rest is due.

const IDLE = 60000; // a longer pause between two inputs is no work
const PAUSE = 5 * 60000; // a pause of this length is a rest
export const REST = 50 * 60000;
const LATEST = 50; // votes that the pace is taken from

export class Session {
  /** @param {() => number} [now] milliseconds */
  constructor(now = () => performance.now()) {
    this.now = now;
    this.votes = 0;
    /** @type {number[]} active milliseconds of each vote */
    this.times = [];
    this.active = 0;
    this.input = now();
    this.atVote = 0;
    this.due = REST;
  }

  /** Counts the time since the last input, unless the person was away. */
  touch() {
    const now = this.now(), since = now - this.input;
    this.input = now;
    if (since <= IDLE) this.active += since;
    else if (since >= PAUSE) this.rested();
  }

  rested() {
    this.active = 0;
    this.atVote = 0;
    this.due = REST;
  }

  vote() {
    this.touch();
    this.votes += 1;
    this.times.push(this.active - this.atVote);
    if (this.times.length > LATEST) this.times.shift();
    this.atVote = this.active;
  }

  undo() {
    this.votes = Math.max(0, this.votes - 1);
  }

  /** Returns the median of the active milliseconds of a vote; null while there are too few. */
  get median() {
    if (this.times.length < 5) return null;
    const sorted = [...this.times].sort((a, b) => a - b), middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }

  /** Returns votes an hour at the median pace. */
  get pace() {
    const { median } = this;
    return median ? Math.round(3600000 / median) : null;
  }

  /**
   * Returns the minutes that so many votes take.
   * @param {number | null} left
   */
  minutes(left) {
    const { median } = this;
    return median === null || left === null ? null : Math.round((left * median) / 60000);
  }

  get restDue() {
    return this.active >= this.due;
  }

  /**
   * Puts the reminder off.
   * @param {number} minutes
   */
  snooze(minutes) {
    this.due = this.active + minutes * 60000;
  }
}
