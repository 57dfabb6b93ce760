// Which key does what. Letters and digits can be switched off; then they work only where the focus is in the answer.

/** @typedef {"undo" | "skip" | "older" | "newer" | "fit" | "larger" | "smaller" | "help" | "guide" | "reveal" | "submit" |
 *   "up" | "down" | "pan-left" | "pan-right" | "pan-up" | "pan-down"} Action */

/** @type {Record<string, Action>} */
const CHARACTERS = {
  z: "undo", s: "skip", f: "fit", "+": "larger", "=": "larger", "-": "smaller", "−": "smaller", "?": "help", "？": "help",
  g: "guide", r: "reveal",
};
/** @type {Record<string, Action>} */
const OTHERS = { ArrowLeft: "older", ArrowRight: "newer", ArrowUp: "up", ArrowDown: "down", Enter: "submit" };
/** @type {Record<string, Action>} */
const PANNING = { ArrowLeft: "pan-left", ArrowRight: "pan-right", ArrowUp: "pan-up", ArrowDown: "pan-down" };

/**
 * Listens for keys.
 * @param {{shortcuts: () => boolean, act: (action: Action) => void, digit: (digit: string) => void}} told
 */
export function listen(told) {
  document.addEventListener("keydown", (event) => {
    // An input method at work sends keys that are not meant for the page.
    if (event.isComposing || event.keyCode === 229 || event.defaultPrevented) return;
    if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
    const target = /** @type {Element} */ (event.target);
    if (target.matches("input:not([type=radio]), textarea, select, [contenteditable]")) return;
    if (event.shiftKey && PANNING[event.key]) {
      event.preventDefault();
      told.act(PANNING[event.key]);
      return;
    }
    const radio = target.matches("[type=radio]"), within = target.closest("#panel") !== null;
    const character = event.key.length === 1;
    if (character && !told.shortcuts() && !within) return;
    // A digit counts by its key too: some layouts have other characters there.
    const action = character ? CHARACTERS[event.key.toLowerCase()] : event.code.startsWith("Numpad") && event.key !== "Enter" ? undefined : OTHERS[event.key];
    const digit = action || event.shiftKey ? "" : /^[0-9]$/.exec(event.key)?.[0] ?? /^(?:Digit|Numpad)([0-9])$/.exec(event.code)?.[1] ?? "";
    if (!digit && !action) return;
    // Arrows within radio buttons, and Enter on a button or link, are the browser's.
    if (radio && (action === "older" || action === "newer")) return;
    if (action === "submit" && target.matches("button, a, summary")) return;
    event.preventDefault();
    const held = event.repeat && action !== "larger" && action !== "smaller";
    if (held) return;
    if (digit) told.digit(digit);
    else if (action) told.act(action);
  });
}
