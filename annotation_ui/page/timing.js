// Measures how long an item was in view. A tab that is hidden for a minute adds nothing to the time it was shown.

export class Timing {
  constructor() {
    /** @type {number | null} when the present stretch of being shown or hidden began */
    this.since = null;
    this.hidden = document.hidden;
    this.first = this.shown = this.away = 0;
    this.turn = () => {
      this.count();
      this.hidden = document.hidden;
    };
    document.addEventListener("visibilitychange", this.turn);
  }

  close() {
    document.removeEventListener("visibilitychange", this.turn);
  }

  /** Begins anew, for another item. */
  reset() {
    this.first = this.shown = this.away = 0;
    this.since = null;
  }

  /** The item is in view from now on. */
  start() {
    if (this.since !== null) return;
    this.since = performance.now();
    this.first ||= this.since;
  }

  /** Something else is shown instead, such as an earlier item. */
  stop() {
    this.count();
    this.since = null;
  }

  count() {
    if (this.since === null) return;
    const now = performance.now();
    if (this.hidden) this.away += now - this.since;
    else this.shown += now - this.since;
    this.since = now;
  }

  /** Returns the times up to now, in milliseconds. */
  read() {
    this.count();
    const whole = this.first ? performance.now() - this.first : 0;
    return { shown_ms: Math.round(this.shown), decided_ms: Math.round(whole), hidden_ms: Math.round(this.away) };
  }
}

/** What the person used last: the keyboard, or a pointer's type. */
export class Device {
  constructor() {
    this.last = "keyboard";
    addEventListener("keydown", () => { this.last = "keyboard"; }, true);
    addEventListener("pointerdown", (event) => { this.last = event.pointerType || "mouse"; }, true);
  }
}
