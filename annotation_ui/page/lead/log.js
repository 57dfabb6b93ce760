// What was done, by whom and when.

import { make, visible } from "../dom.js";
import { button, note, panel, table, when } from "./parts.js";
import { named, t } from "./strings.js";

/** @typedef {import("./types").Desk} Desk */
/** @typedef {import("./types").Log} Log */

/** @param {Desk} desk @param {HTMLElement} place */
export async function showLog(desk, place) {
  const lists = make("div", { className: "texts" }), more = make("div", { className: "row" });
  /** @param {number | null} before */
  const load = async (before) => {
    more.replaceChildren();
    /** @type {Log} */
    const log = await desk.ask("GET", before === null ? "/api/lead/audit" : `/api/lead/audit?before=${before}`);
    const rows = log.entries.map(({ at, person, action, detail, address }) => [when(at), visible(person ?? (action === "sign_in_failed" ? "" : t("command_line"))), named("action", action), told(detail, log.names), visible(address ?? "")]);
    if (rows.length) lists.append(table(t("log"), [t("time"), t("who"), t("what"), t("detail"), t("address")], rows));
    else if (before === null) lists.append(note(t("log_none")));
    if (log.next !== null) more.append(button(t("more"), () => load(log.next)));
  };
  place.replaceChildren(panel(t("log"), lists, more));
  await load(null);
}

const NAMED = ["item", "level", "project", "role"];

/** @param {Record<string, unknown> | null} detail @param {Record<string, string>} names */
function told(detail, names) {
  return Object.entries(detail ?? {}).filter(([, value]) => value !== null).map(([name, value]) =>
    visible(name === "person" ? names[String(value)] ?? String(value) : name === "name" ? String(value)
      : `${NAMED.includes(name) ? t(name) : name}: ${name === "role" ? named("role", String(value)) : value}`)).join(", ");
}
