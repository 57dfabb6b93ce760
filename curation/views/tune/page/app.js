// The page: which thresholds are moved, which one is in hand, and when the server is asked what.

import { make, counted, difference, of, some } from "./dom.js";
import { ask, latestOnly } from "./server.js";
import { Chart } from "./chart.js";
import { drawFunnel, undecidedNote, duplicatesNote } from "./funnel.js";
import { Sides } from "./images.js";
import { confirmWriting } from "./writing.js";

const REST = 150; // milliseconds without a move before images and the other histograms follow
const $ = (id) => document.getElementById(id);

let state, sides, hand = null, resting = null, notice = "", follow = new AbortController();
const values = new Map(); // "predicate number" of a moved threshold: its number
const cards = new Map();
const drawn = new Map(); // "predicate number": what its histogram was drawn for

const id = (predicate, number) => `${predicate} ${number}`;
const place = ({ predicate, number }) => ({ predicate, number });
const moves = () => [...values].map(([name, value]) => {
  const [predicate, number] = name.split(" ");
  return { predicate, number: Number(number), value };
});

function trouble(error) {
  if (error.name === "AbortError") return;
  $("trouble").textContent = error.message;
  $("trouble").hidden = false;
  $("status").textContent = "";
}

function value({ predicate, number }) {
  return values.get(id(predicate, number)) ?? cards.get(predicate).charts[number].threshold.value;
}

// What a threshold's histogram depends on: the predicates before its own, and its own number.
function basis(at) {
  const before = state.predicates.slice(0, state.predicates.findIndex((p) => p.name === at.predicate)).map((p) => p.name);
  return JSON.stringify([moves().filter((m) => before.includes(m.predicate)), value(at)]);
}

const update = latestOnly(async (at) => {
  follow.abort();
  clearTimeout(resting);
  document.body.classList.add("busy");
  const began = performance.now();
  try {
    const asked = { values: moves(), at: at && place(at) };
    const drawnFor = at && basis(at), moved = at && value(at);
    const answer = await ask("api/move", asked);
    showFunnel(answer.funnel);
    if (at) {
      cards.get(at.predicate).charts[at.number].draw(answer.histogram);
      drawn.set(id(at.predicate, at.number), drawnFor);
      if (hand && id(hand.predicate, hand.number) === id(at.predicate, at.number)) {
        sides.show(at.predicate, cards.get(at.predicate).charts[at.number].threshold, moved, answer);
      }
    }
    $("trouble").hidden = true;
    $("status").textContent = `${notice}counted in ${Math.round(performance.now() - began)} ms`;
  } catch (error) {
    trouble(error);
    return;
  } finally {
    document.body.classList.remove("busy");
  }
  clearTimeout(resting);
  resting = setTimeout(() => rest().catch(trouble), REST);
});

// While no slider moves: the images of the threshold in hand, then histograms that no longer hold.
async function rest() {
  follow = new AbortController();
  const { signal } = follow;
  if (hand && sides.lists) await sides.load(signal);
  for (const predicate of state.predicates) {
    for (const { number } of predicate.thresholds) {
      const at = { predicate: predicate.name, number }, name = id(at.predicate, number), now = basis(at);
      if (drawn.get(name) === now) continue;
      const histogram = await ask("api/histogram", { values: moves(), at }, signal);
      cards.get(at.predicate).charts[number].draw(histogram);
      drawn.set(name, now);
    }
  }
  document.body.classList.add("settled");
}

function take(at) {
  if (hand && hand.predicate === at.predicate && hand.number === at.number) return;
  const { charts } = cards.get(at.predicate), { element } = charts[at.number];
  const before = element.getBoundingClientRect().top;
  hand = at;
  for (const [name, card] of cards) card.element.classList.toggle("hand", name === at.predicate);
  for (const chart of Object.values(charts)) chart.element.classList.toggle("hand", chart === charts[at.number]);
  sides.lists = null;
  for (const { title, grid } of sides.panels) for (const part of [title, grid]) part.replaceChildren();
  element.after(sides.element);
  window.scrollBy(0, element.getBoundingClientRect().top - before); // what is being used stays where it is
  update(at);
}

function move(at, value) {
  notice = "";
  const { threshold } = cards.get(at.predicate).charts[at.number];
  if (value === threshold.value) values.delete(id(at.predicate, at.number));
  else values.set(id(at.predicate, at.number), value);
  document.body.classList.remove("settled");
  if (hand !== null && id(hand.predicate, hand.number) !== id(at.predicate, at.number)) take(at);
  else update(at);
  showMoved();
}

// Moves of predicates that were given by --set do not stand in the file.
const overridden = (name) => state.predicates.find((p) => p.name === name).overridden;
const writable = () => moves().filter((m) => !overridden(m.predicate));

function showMoved() {
  const count = writable().length, left = new Set(moves().map((m) => m.predicate).filter(overridden));
  $("reset").disabled = values.size === 0;
  $("write").disabled = count === 0;
  $("write").textContent = count ? `Write ${count} to recipe…` : "Write to recipe…";
  $("write").title = left.size ? `Not written, since given by --set: ${[...left].join(", ")}` : "";
  for (const predicate of state.predicates) drawSql(predicate);
}

function drawSql(predicate) {
  const { sql } = cards.get(predicate.name), text = predicate.sql;
  const parts = [];
  let at = 0;
  for (const threshold of predicate.thresholds) {
    const name = id(predicate.name, threshold.number), moved = values.has(name);
    const number = moved ? String(values.get(name)) : text.slice(threshold.start, threshold.stop);
    parts.push(text.slice(at, threshold.start), make("mark", { className: moved ? "moved" : "", textContent: number }));
    at = threshold.stop;
  }
  sql.replaceChildren(...parts, text.slice(at));
}

function showFunnel(funnel) {
  drawFunnel($("funnel").tBodies[0], state.predicates, funnel, state.saved);
  undecidedNote($("undecided"), funnel.undecided);
  let reaching = funnel.input - funnel.failed;
  for (const { name } of state.predicates) {
    const dropped = of(funnel.dropped, name), waiting = of(funnel.undecided, name);
    const delta = difference(dropped - of(state.saved.dropped, name));
    cards.get(name).facts.replaceChildren(
      `${some(reaching)} ${reaching === 1 ? "gets" : "get"} here · drops `, make("strong", { textContent: counted(dropped) }),
      delta ? make("span", { className: "delta", textContent: ` ${delta}` }) : "",
      waiting ? make("span", { className: "amber", textContent: ` · ${counted(waiting)} undecided` }) : "");
    reaching -= dropped + waiting;
  }
}

function card(predicate, place) {
  const facts = make("span", { className: "facts" }), sql = make("code", { className: "sql" });
  const charts = {};
  for (const threshold of predicate.thresholds) {
    const at = { predicate: predicate.name, number: threshold.number };
    charts[threshold.number] = new Chart(threshold, predicate.name, (value) => move(at, value), () => take(at));
  }
  const element = make("article", { id: `predicate-${predicate.name}` },
    make("header", {}, make("h2", {}, make("small", { textContent: place + 1 }), predicate.name), facts),
    sql,
    predicate.overridden ? make("p", { className: "note amber", textContent: "Given by --set; the file says something else, so this one cannot be written." }) : null,
    ...Object.values(charts).map((c) => c.element),
    predicate.thresholds.length ? null : make("p", { className: "note", textContent: "Compares no column with a number; nothing to move here." }));
  cards.set(predicate.name, { element, facts, sql, charts });
  return element;
}

function build(given) {
  state = given;
  cards.clear();
  drawn.clear();
  values.clear();
  hand = null;
  document.title = `curate tune · ${state.recipe}`;
  $("recipe").textContent = state.recipe;
  $("recipe").title = state.folder;
  duplicatesNote($("duplicates"), state.last);
  sides = new Sides(state, trouble);
  $("predicates").replaceChildren(...state.predicates.map(card));
  const first = state.predicates.find((p) => p.thresholds.length);
  if (!first) {
    $("predicates").prepend(make("p", { className: "nothing", textContent: state.predicates.length
      ? "No predicate of select.where compares a column with a number, so there is no threshold to move."
      : "select.where is empty: every image that could be read passes. Add a predicate such as sharp: sharpness >= 12." }));
  }
  showMoved();
  showFunnel(state.saved);
  return first && { predicate: first.name, number: first.thresholds[0].number };
}

function start(given, at) {
  const kept = state ? moves().filter((m) => overridden(m.predicate)) : [];
  const first = build(given);
  for (const m of kept) {
    values.set(id(m.predicate, m.number), m.value);
    cards.get(m.predicate).charts[m.number].show(m.value);
  }
  if (kept.length) showMoved();
  const again = at && cards.get(at.predicate)?.charts[at.number] ? at : first;
  if (again) take(again);
  else document.body.classList.add("settled");
}

$("reset").addEventListener("click", () => {
  for (const [name] of [...values]) {
    const [predicate, number] = name.split(" ");
    const chart = cards.get(predicate).charts[number];
    chart.show(chart.threshold.value);
  }
  values.clear();
  showMoved();
  update(hand);
});

$("write").addEventListener("click", () => confirmWriting(state, writable(), (written) => {
  notice = `written to ${written.recipe} · `;
  start(written, hand);
}, trouble));

window.addEventListener("beforeunload", (event) => { if (values.size) event.preventDefault(); });
// What sticks to the window's top stands below the header, however many lines that has.
new ResizeObserver(() => document.documentElement.style.setProperty("--head", `${$("head").offsetHeight}px`)).observe($("head"));
ask("api/state").then((given) => start(given), trouble);
