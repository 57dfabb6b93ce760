// The images on both sides of the threshold in hand, and one of them enlarged.

import { make, short, SIGNS } from "./dom.js";
import { ask } from "./server.js";

export class Sides {
  constructor(state, trouble) {
    this.recipe = state.recipe;
    this.version = state.version; // of what was loaded: a picture that the browser keeps is shown for that only
    this.trouble = trouble;
    this.panels = [0, 1].map(() => ({ title: make("h3"), grid: make("div", { className: "grid" }) }));
    this.element = make("div", { className: "sides" },
      ...this.panels.map((p) => make("section", {}, p.title, p.grid)));
  }

  // Shows the answer to a move: titles at once, images when `load` is called.
  show(predicate, threshold, value, answer) {
    const up = [">", ">="].includes(threshold.operator);
    this.predicate = predicate;
    const kinds = this.kinds = up ? ["failing", "passing"] : ["passing", "failing"];
    this.lists = kinds.map((kind) => answer[kind]);
    kinds.forEach((kind, i) => {
      const { title } = this.panels[i];
      const sign = kind === "passing" ? SIGNS[threshold.operator] : SIGNS[opposite(threshold.operator)];
      title.replaceChildren(make("span", { className: `swatch ${kind === "passing" ? "pass" : "fail"}` }),
        kind === "passing" ? "Just passes" : "Just fails",
        make("small", { textContent: `${threshold.column} ${sign} ${short(value)}, nearest first` }));
    });
  }

  async load(signal) {
    const rows = this.lists.flat().map((n) => n.row);
    const { keys } = await ask("api/keys", { rows }, signal);
    const key = new Map(rows.map((row, i) => [row, keys[i]]));
    this.lists.forEach((list, i) => {
      const { grid } = this.panels[i];
      const there = new Map([...grid.children].map((tile) => [tile.dataset.shown, tile]));
      const tiles = list.map((n) => there.get(shown(n)) ?? this.tile(n, key.get(n.row), this.kinds[i] === "passing"));
      grid.replaceChildren(...(tiles.length ? tiles : [make("p", { className: "none", textContent: "No image on this side." })]));
    });
  }

  tile(near, key, passing) {
    const image = make("img", { src: `picture/${near.row}/160?of=${this.version}`, alt: "", loading: "lazy", decoding: "async" });
    const frame = make("span", { className: "frame" }, image);
    image.addEventListener("error", () => frame.replaceChildren(make("span", { className: "gone", textContent: "image gone or unreadable" })));
    const fate = near.fate === "kept" ? "passes all" : near.fate === "undecided" ? "undecided" : `fails ${near.dropped_by}`;
    // What becomes of it goes without saying where the threshold in hand decides.
    const expected = passing ? near.fate === "kept" : near.dropped_by === this.predicate;
    const other = expected ? null : make("span", { className: `other ${near.fate === "kept" ? "pass" : ""}`, textContent: fate });
    const tile = make("button", { className: "tile", title: `${key}\n${fate}` }, frame,
      make("span", { className: "value", textContent: short(near.value) }),
      make("span", { className: "name", textContent: key.split("/").slice(2).join("/") }), other);
    tile.dataset.shown = shown(near);
    tile.addEventListener("click", () => this.enlarge(near.row).catch(this.trouble));
    return tile;
  }

  async enlarge(row) {
    const story = await ask(`/api/image/${row}`);
    const dialog = document.getElementById("enlarged");
    const image = make("img", { src: `picture/${row}/1024?of=${this.version}`, alt: story.key });
    const frame = make("div", { className: "large" }, image);
    image.addEventListener("error", () => frame.replaceChildren(make("p", { className: "gone", textContent: "The image is gone or cannot be decoded." })));
    const facts = make("dl");
    for (const [name, values] of Object.entries(story.signals)) section(facts, name, values ?? { state: "not scored" });
    section(facts, "image", story.sample);
    const command = `curate explain ${quoted(this.recipe)} ${quoted(story.key)}`;
    const close = make("button", { textContent: "Close" });
    close.addEventListener("click", () => dialog.close());
    dialog.replaceChildren(
      make("header", {}, make("h2", { textContent: story.key }), close),
      make("div", { className: "story" }, frame, facts),
      make("p", { className: "note" }, "The whole story: ", make("code", { textContent: command })));
    dialog.showModal();
  }
}

const opposite = (operator) => ({ ">=": "<", ">": "<=", "<=": ">", "<": ">=" })[operator];
const shown = (near) => `${near.row} ${near.fate} ${near.dropped_by}`;
const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

function section(list, name, values) {
  list.append(make("div", { className: "signal", textContent: name }));
  for (const [column, value] of Object.entries(values)) {
    list.append(make("dt", { textContent: column }), make("dd", { textContent: short(value) }));
  }
}
