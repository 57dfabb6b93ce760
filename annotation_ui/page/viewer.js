// Shows one picture: fitted into the window or enlarged, moved by wheel, drag, pinch and keys.

import { fetched } from "./pictures.js";
import { make } from "./dom.js";

const OWN_SIZE = 1; // a small picture is not enlarged by itself: it would look blurred, and be judged so
const LARGEST = 16;
const SWIPE = 60; // pixels

export class Viewer {
  /** @param {{moved: (viewer: Viewer) => void, swiped: (direction: number) => void, zoomed: () => void}} told */
  constructor(told) {
    this.told = told;
    this.element = make("div", { className: "viewer" });
    /** @type {HTMLImageElement | null} */
    this.image = null;
    this.width = this.height = 1;
    this.scale = this.fitted = 1;
    this.x = this.y = 0;
    this.full = "";
    /** @type {Map<number, {x: number, y: number}>} */
    this.pointers = new Map();
    this.start = { x: 0, y: 0 };
    this.listen();
    new ResizeObserver(() => this.resized()).observe(this.element);
  }

  /**
   * Shows a decoded picture.
   * @param {HTMLImageElement | null} image
   * @param {{width: number, height: number, full: string, alt: string}} of
   */
  show(image, of) {
    this.image?.remove();
    this.image = image;
    if (!image) return;
    image.alt = of.alt;
    const { width, height } = of;
    this.width = width || image.naturalWidth;
    this.height = height || image.naturalHeight;
    this.full = of.full;
    this.element.prepend(image);
    this.fit();
  }

  resized() {
    if (this.isFitted) this.fit();
    else this.place(this.scale);
  }

  get isFitted() {
    return this.scale <= this.fitted * 1.001;
  }

  /** The scale at which a pixel of the picture is a pixel of the screen. */
  get whole() {
    return 1 / devicePixelRatio;
  }

  /** Percent of the picture's own size. */
  get percent() {
    return Math.round(100 * this.scale * devicePixelRatio);
  }

  fit() {
    const { clientWidth, clientHeight } = this.element;
    if (!clientWidth || !this.image) return;
    this.fitted = Math.min(clientWidth / this.width, clientHeight / this.height, OWN_SIZE);
    this.x = this.y = 0;
    this.place(this.fitted);
  }

  toggle() {
    if (this.isFitted) this.zoom(this.whole / this.scale);
    else this.fit();
    this.told.moved(this);
  }

  /**
   * Enlarges by a factor about a point, given from the middle of the viewer.
   * @param {number} factor
   * @param {number} [x]
   * @param {number} [y]
   */
  zoom(factor, x = 0, y = 0) {
    const least = Math.min(this.fitted, this.whole), scale = Math.min(LARGEST, Math.max(least, this.scale * factor));
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.place(scale);
  }

  /** @param {number} dx @param {number} dy */
  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.place(this.scale);
    this.told.moved(this);
  }

  /**
   * Shows the same part of its picture as another viewer does.
   * @param {Viewer} other
   */
  follow(other) {
    if (other.isFitted) {
      this.fit();
      return;
    }
    const scale = (this.fitted * other.scale) / other.fitted;
    this.x = (other.x / (other.width * other.scale)) * this.width * scale;
    this.y = (other.y / (other.height * other.scale)) * this.height * scale;
    this.place(scale);
  }

  /** @param {number} scale */
  place(scale) {
    const { image } = this;
    if (!image) return;
    this.scale = scale;
    const width = this.width * scale, height = this.height * scale;
    const over = Math.max(0, (width - this.element.clientWidth) / 2), above = Math.max(0, (height - this.element.clientHeight) / 2);
    this.x = Math.min(over, Math.max(-over, this.x));
    this.y = Math.min(above, Math.max(-above, this.y));
    image.style.width = `${width}px`;
    image.style.height = `${height}px`;
    image.style.transform = `translate(-50%, -50%) translate(${this.x}px, ${this.y}px)`;
    this.element.classList.toggle("large", over + above > 0);
    if (width * devicePixelRatio > image.naturalWidth && image.naturalWidth < this.width) this.sharpen();
    this.told.zoomed();
  }

  /** Shows the picture as large as it is, once it has come; until then the smaller one stays. */
  sharpen() {
    const { image, full } = this;
    if (!image || !full || image.dataset.full) return;
    image.dataset.full = "asked";
    fetched(full).then((large) => {
      const small = image.src;
      image.src = large.src;
      image.decode().catch(() => undefined).then(() => URL.revokeObjectURL(small));
    }, () => { delete image.dataset.full; });
  }

  listen() {
    const { element } = this;
    element.addEventListener("wheel", (event) => {
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 16 : 1;
      this.zoom(Math.exp(-0.002 * lines * event.deltaY), ...this.from(event));
      this.told.moved(this);
    }, { passive: false });
    element.addEventListener("dblclick", (event) => {
      if (!(event.target instanceof HTMLButtonElement)) this.toggle();
    });
    element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || event.target instanceof HTMLButtonElement) return;
      element.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      this.start = { x: event.clientX, y: this.pointers.size > 1 ? NaN : event.clientY };
    });
    element.addEventListener("pointermove", (event) => this.drag(event));
    for (const type of /** @type {const} */ (["pointerup", "pointercancel"])) {
      element.addEventListener(type, (event) => {
        if (this.pointers.delete(event.pointerId) && type === "pointerup") this.swipe(event);
      });
    }
  }

  /** @param {PointerEvent} event */
  drag(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, now);
    if (other) {
      const apart = (/** @type {{x: number, y: number}} */ at) => Math.hypot(at.x - other.x, at.y - other.y);
      this.zoom(apart(now) / Math.max(1, apart(before)), ...this.from({ clientX: (now.x + other.x) / 2, clientY: (now.y + other.y) / 2 }));
    } else if (!this.isFitted) {
      this.x += now.x - before.x;
      this.y += now.y - before.y;
      this.place(this.scale);
    }
    this.told.moved(this);
  }

  /**
   * A flat stroke over a fitted picture leafs through the history; it never votes.
   * @param {PointerEvent} event
   */
  swipe(event) {
    if (event.pointerType !== "touch" || !this.isFitted) return;
    const dx = event.clientX - this.start.x, dy = event.clientY - this.start.y;
    if (Math.abs(dx) > SWIPE && Math.abs(dx) > 2 * Math.abs(dy)) this.told.swiped(Math.sign(dx));
  }

  /** @param {{clientX: number, clientY: number}} event @returns {[number, number]} */
  from(event) {
    const box = this.element.getBoundingClientRect();
    return [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
  }
}
