// What the person has chosen: kept on the server, and in the browser for the time before the sign-in.

import { ask } from "./server.js";

/** @typedef {import("./types").Preferences} Preferences */

/**
 * Returns what this browser remembers.
 * @returns {Preferences}
 */
export function remembered() {
  try {
    const found = JSON.parse(localStorage.getItem("preferences") ?? "{}");
    return typeof found === "object" && found !== null ? found : {};
  } catch {
    return {};
  }
}

/** @param {Preferences} preferences */
export function remember(preferences) {
  try {
    localStorage.setItem("preferences", JSON.stringify({ language: preferences.language, theme: preferences.theme }));
  } catch { /* the server keeps them */ }
}

/**
 * Stores the preferences; without a connection they hold for this page.
 * @param {Preferences} preferences
 */
export function store(preferences) {
  remember(preferences);
  ask("PUT", "/api/me/preferences", { preferences }).catch(() => undefined);
}
