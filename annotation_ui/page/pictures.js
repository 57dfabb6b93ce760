// Loads the pictures of items and decodes them ahead, so that the next one shows at once.

import { Refused } from "./server.js";

/** @typedef {import("./types").Item} Item */

const KEPT = 16; // items whose pictures stay in memory, for going back

/** An item's pictures, on their way or decoded. */
export class Loaded {
  /** @param {Item} item */
  constructor(item) {
    this.item = item;
    /** @type {HTMLImageElement[]} */
    this.images = [];
    /** @type {Promise<void> | null} */
    this.loading = null;
    this.ready = false;
    /** @type {Refused | null} why there are none */
    this.error = null;
    this.revealed = false;
  }

  /** Loads and decodes the previews, once; never fails: `ready` or `error` tells the end. */
  load() {
    if (!this.ready && !this.loading) {
      this.error = null;
      this.loading = Promise.all(this.item.pictures.map(({ preview }) => fetched(preview)))
        .then((images) => {
          this.images = images;
          this.ready = true;
        })
        .catch((error) => { this.error = error; })
        .finally(() => { this.loading = null; });
    }
    return this.loading ?? Promise.resolve();
  }

  release() {
    for (const { src } of this.images) URL.revokeObjectURL(src);
  }
}

/**
 * Fetches a picture and returns it decoded. It is not left to the image element, which does not tell why it failed.
 * @param {string} url
 * @returns {Promise<HTMLImageElement>}
 */
export async function fetched(url) {
  // A picture that never comes would keep the next ones waiting.
  const signal = /** @type {any} */ (AbortSignal).timeout?.(30000);
  const answer = await fetch(url, { credentials: "same-origin", signal }).catch(() => null);
  if (answer === null) throw new Refused(0, "offline", "");
  if (!answer.ok) {
    const { error } = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, String(error?.code ?? ""), String(error?.message ?? answer.status));
  }
  const blob = await answer.blob().catch(() => null);
  if (blob === null) throw new Refused(0, "offline", "");
  const image = new Image();
  image.draggable = false;
  image.decoding = "sync"; // it comes whole with the frame that shows it
  image.src = URL.createObjectURL(blob);
  try {
    await image.decode();
  } catch {
    URL.revokeObjectURL(image.src);
    throw new Refused(410, "unreadable", "");
  }
  return image;
}

/** The pictures that are in memory. */
export class Pictures {
  constructor() {
    /** @type {Map<number, Loaded>} the longest unused first */
    this.kept = new Map();
  }

  /** @param {Item} item */
  of(item) {
    const loaded = this.kept.get(item.id) ?? new Loaded(item);
    loaded.item = item;
    this.kept.delete(item.id);
    this.kept.set(item.id, loaded);
    for (const [id, oldest] of this.kept) {
      if (this.kept.size <= KEPT) break;
      this.kept.delete(id);
      if (oldest.images.some((image) => image.isConnected)) this.kept.set(id, oldest);
      else oldest.release();
    }
    return loaded;
  }
}
