// The page: signs the person in, and puts voting or review on the desk.

import { Desk, lazily } from "./desk.js";
import { $ } from "./dom.js";
import { listen } from "./keys.js";
import { notice, waiting } from "./notices.js";
import { Outbox, uuid } from "./outbox.js";
import { remember } from "./preferences.js";
import { ask, Refused, setSession } from "./server.js";
import { t } from "./strings.js";
import { Voting } from "./voting.js";

/** @typedef {import("./types").Me} Me */

/** Takes the token of a personal link out of the address, so that it stands in no history; null if there is none. */
function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("join");
  if (token !== null) history.replaceState(null, "", location.pathname + location.search);
  return token;
}

class App extends Desk {
  /** Signs in, by the link where one was opened, and begins. */
  async start() {
    const token = takeToken();
    try {
      await this.apply();
    } catch {
      setTimeout(() => location.reload(), 3000); // the words have not come, so that nothing can be told
      return;
    }
    this.stage.tell("loading");
    for (let wait = 1000; ; wait = Math.min(30000, 2 * wait)) {
      try {
        await this.enter(await (token === null ? ask("GET", "/api/me") : ask("POST", "/api/sign-in", { token })));
        return;
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        if (error.status === 0 || error.status === 429 || error.status >= 500) {
          this.stage.tell(error.status ? "wrong" : "offline", { message: error.message });
          const pause = Math.max(wait, error.wait);
          await new Promise((resolve) => { setTimeout(resolve, pause); });
        } else {
          await this.enter(await this.signIn(token === null ? "sign_in_text" : "link_failed"));
          return;
        }
      }
    }
  }

  /**
   * @param {string} why
   * @param {string} [name] of the person whose session has ended
   * @returns {Promise<Me>}
   */
  async signIn(why, name) {
    const { signIn } = await lazily(import("./sign_in.js"));
    return signIn(why, () => this.otherLanguage(), name);
  }

  /** @param {Me} me */
  async enter(me) {
    this.me = me;
    setSession(me);
    this.preferences = { ...this.preferences, ...me.person.preferences };
    remember(this.preferences);
    this.outbox = new Outbox(me.person.id, {
      sent: (entry, answer) => {
        this.reached();
        if (entry.project === this.project?.id) this.work?.sent(entry, answer);
      },
      refused: (entry, error) => {
        if (entry.project === this.project?.id && this.work) this.work.refused(entry, error);
        else notice(t("refused_other", { message: error.message }));
      },
      trouble: (error) => this.trouble(error),
      changed: (count) => {
        waiting(count);
        if (this.outbox?.unstored.size) notice(t("unstored"));
      },
    });
    this.alone();
    this.drawProjects();
    await this.apply();
    await this.begin();
    if (location.hash === "#review" && !$("review").hidden) await this.review(); // as the lead's page links here
    waiting(this.outbox.count);
    this.outbox.send();
  }

  /** Of all tabs of this browser the newest votes; the others rest, so that none shows what another has answered. */
  alone() {
    if (typeof BroadcastChannel === "undefined") return;
    const channel = new BroadcastChannel(`annotation-${this.me.person.id}`), tab = uuid();
    channel.onmessage = ({ data }) => {
      if (data === tab || this.stopped) return;
      this.stopped = true;
      const signing = /** @type {HTMLDialogElement} */ ($("signing"));
      signing.onclose = null; // whoever has signed in in the other tab need not do so here
      signing.close();
      this.outbox.stop();
      this.clear();
      $("panel").hidden = $("banner").hidden = $("notice").hidden = true;
      this.stage.tell("elsewhere", {}, [this.button("use_here", () => location.reload())]);
    };
    channel.postMessage(tab);
  }

  drawProjects() {
    const { projects, person, tune } = this.me, select = /** @type {HTMLSelectElement} */ ($("project"));
    const known = Number(sessionStorage.getItem("project"));
    this.project = projects.find(({ id }) => id === known) ?? projects[0] ?? null;
    select.hidden = projects.length < 2;
    $("task").classList.toggle("unseen", projects.length > 1);
    $("lead").hidden = person.role !== "lead";
    $("tune").hidden = !tune;
    select.onchange = () => {
      sessionStorage.setItem("project", select.value);
      this.release();
      this.project = projects.find(({ id }) => String(id) === select.value) ?? null;
      this.begin();
      select.blur();
    };
  }

  /** Puts voting on the desk. */
  async begin() {
    this.clear();
    if (!this.project) {
      this.stage.tell("no_project");
      return;
    }
    this.mode(false);
    $("review").hidden = this.me.person.role === "annotator" || this.project.declaration.answer !== "level";
    if (this.project.declaration.answer === "scores") ({ Scores: this.Scores } = await lazily(import("./scores.js")));
    this.put(new Voting(this, this.project));
  }

  /** Puts review on the desk, or voting again. */
  async review() {
    if (!(this.work instanceof Voting) || !this.project || this.stopped) {
      this.begin();
      return;
    }
    const { Review } = await lazily(import("./review.js"));
    this.release();
    this.clear();
    this.mode(true);
    this.put(new Review(this, this.project));
  }

  /** @param {boolean} review */
  mode(review) {
    $("review").setAttribute("aria-pressed", String(review));
    for (const id of ["history", "do-undo"]) $(id).hidden = review;
  }

  release() {
    if (this.work instanceof Voting) this.work.queue.release();
  }

  /** The session has ended: what waits is kept, and goes on after the sign-in. */
  async signInAgain() {
    if (this.signing || this.stopped) return;
    this.signing = true;
    /** @type {Me} */
    const me = await this.signIn("sign_in_again", this.me.person.name);
    this.signing = false;
    if (me.person.id !== this.me.person.id) {
      location.reload(); // the earlier person's answers wait under that person's name
      return;
    }
    this.me = me;
    setSession(me);
    this.outbox.send();
    if (this.work instanceof Voting) {
      this.work.queue.refill();
      this.work.queue.preload();
    } else this.work?.next();
  }

  async signOut() {
    this.release();
    await ask("POST", "/api/sign-out").catch(() => undefined);
    location.reload();
  }
}

const app = new App();
listen({
  shortcuts: () => app.preferences.shortcuts !== false,
  act: (action) => app.act(action),
  digit: (digit) => app.work?.digit(digit),
});
for (const action of /** @type {const} */ (["older", "newer", "undo", "skip", "fit", "help", "guide"])) {
  $(`do-${action}`).addEventListener("click", () => app.act(action));
}
$("do-settings").addEventListener("click", () => app.settings());
$("do-language").addEventListener("click", () => app.otherLanguage());
$("review").addEventListener("click", () => app.review());
// A button that was clicked by a pointer keeps no focus, so that Enter and the arrows are the answer's again.
document.addEventListener("click", (event) => {
  const button = /** @type {Element} */ (event.target).closest("button");
  if (event.detail && button && !button.closest("dialog")) button.blur();
}, true);
for (const type of ["keydown", "pointerdown", "wheel"]) addEventListener(type, () => app.input(), { passive: true, capture: true });
document.addEventListener("visibilitychange", () => app.input());
addEventListener("pagehide", () => app.stopped || app.release());
addEventListener("pageshow", (event) => event.persisted && location.reload());
setInterval(() => app.remind(), 20000);
app.start();
