// Where pictures are shown: one viewer, or up to four whose views move together; and what stands there instead.

import { $, make } from "./dom.js";
import { t } from "./strings.js";
import { Viewer } from "./viewer.js";

/** @typedef {import("./pictures.js").Loaded} Loaded */

export class Stage {
  /** @param {{swiped: (direction: number) => void, revealed: () => void}} told */
  constructor(told) {
    this.told = told;
    this.element = $("viewers");
    /** @type {Viewer[]} */
    this.viewers = [];
    /** @type {Loaded | null} */
    this.loaded = null;
    this.blur = true;
    this.cover = make("button", { id: "cover", type: "button", hidden: true });
    this.cover.addEventListener("click", () => this.reveal());
  }

  /**
   * Shows an item's pictures, which are decoded.
   * @param {Loaded} loaded
   */
  show(loaded) {
    const { item, images } = loaded;
    this.loaded = loaded;
    while (this.viewers.length < images.length) this.viewers.push(this.viewer());
    this.viewers = this.viewers.filter((viewer, n) => n < images.length || viewer.element.remove());
    this.element.dataset.count = String(images.length);
    const letters = images.length > 1;
    this.viewers.forEach((viewer, n) => {
      const letter = String.fromCharCode(65 + n);
      viewer.element.dataset.letter = letters ? letter : "";
      if (!viewer.element.isConnected) this.element.append(viewer.element);
      const { full, width, height } = item.pictures[n];
      viewer.show(images[n], { width: width ?? 0, height: height ?? 0, full, alt: letters ? t("picture_n", { n: letter }) : t("picture") });
    });
    this.element.hidden = false;
    $("state").hidden = true;
    this.veil();
    this.zoomed();
  }

  viewer() {
    return new Viewer({
      moved: (viewer) => this.viewers.forEach((other) => other === viewer || other.follow(viewer)),
      swiped: this.told.swiped,
      zoomed: () => this.zoomed(),
    });
  }

  zoomed() {
    const percent = this.viewers[0]?.percent;
    $("zoom-value").textContent = percent ? `${percent}%` : "";
  }

  /** Whether the item is hidden until the person asks for it. */
  get veiled() {
    return !!this.loaded && this.blur && this.loaded.item.unsafe && !this.loaded.revealed;
  }

  /** Hides or shows what may disturb. */
  veil() {
    const { veiled } = this;
    this.element.classList.toggle("veiled", veiled);
    this.cover.hidden = !veiled;
    this.cover.textContent = t("reveal");
    this.element.append(this.cover);
    for (const { image } of this.viewers) image?.setAttribute("aria-hidden", String(veiled));
  }

  reveal() {
    if (!this.loaded || !this.veiled) return;
    this.loaded.revealed = true;
    this.veil();
    this.told.revealed();
  }

  /**
   * Shows a state instead of pictures.
   * @param {string} name of its title and its text among the strings
   * @param {Record<string, string | number>} [values]
   * @param {HTMLElement[]} [buttons]
   */
  tell(name, values = {}, buttons = []) {
    this.loaded = null;
    for (const viewer of this.viewers) viewer.show(null, { width: 0, height: 0, full: "", alt: "" });
    this.element.hidden = true;
    const state = $("state");
    state.hidden = false;
    state.dataset.state = name;
    state.replaceChildren(make("h1", { textContent: t(`${name}_title`) }), make("p", { textContent: t(`${name}_text`, values) }), ...buttons);
    $("zoom-value").textContent = "";
  }

  /** @param {(viewer: Viewer) => void} work */
  each(work) {
    if (this.viewers[0]) work(this.viewers[0]);
    this.viewers.slice(1).forEach((viewer) => viewer.follow(this.viewers[0]));
  }

  /** @param {import("./keys.js").Action} action @returns whether it was one of the view */
  act(action) {
    /** @type {Partial<Record<import("./keys.js").Action, (viewer: Viewer) => void>>} */
    const views = {
      fit: (viewer) => viewer.toggle(), larger: (viewer) => viewer.zoom(1.25), smaller: (viewer) => viewer.zoom(0.8),
      "pan-left": (viewer) => viewer.pan(80, 0), "pan-right": (viewer) => viewer.pan(-80, 0),
      "pan-up": (viewer) => viewer.pan(0, 80), "pan-down": (viewer) => viewer.pan(0, -80),
    };
    const view = views[action];
    if (view) this.each(view);
    return view !== undefined;
  }
}
