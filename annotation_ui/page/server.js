// Asks the server. Every answer that is no success becomes a `Refused`, whose code tells the page what to do.

/** The server's refusal; `status` is 0 if it could not be reached. */
export class Refused extends Error {
  /**
   * @param {number} status
   * @param {string} code
   * @param {string} message
   * @param {number} [wait] milliseconds after which it may be asked again
   */
  constructor(status, code, message, wait = 0) {
    super(message);
    this.status = status;
    this.code = code;
    this.wait = wait;
  }

  /** Whether the same request may succeed later. */
  get passing() {
    return this.status === 0 || this.status === 401 || this.code === "csrf" || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

let csrf = "", person = 0;

/**
 * Notes the session in whose name the page asks.
 * @param {import("./types").Me} me
 */
export function setSession(me) {
  csrf = me.csrf;
  person = me.person.id;
}

/**
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 */
const request = (method, path, body) => fetch(path, {
  method,
  keepalive: method !== "GET", // a vote that is on its way arrives though the tab is closed
  // A request whose answer never comes would hold up all that wait behind it.
  signal: /** @type {any} */ (AbortSignal).timeout?.(20000),
  ...(method === "GET" ? {} : {
    headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf }, body: JSON.stringify(body ?? {}),
  }),
});

/**
 * Asks the server and returns its answer.
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @returns {Promise<any>}
 */
export async function ask(method, path, body) {
  const answer = await reach(method, path, body);
  if (answer.ok) return answer.json().catch(unreached);
  const { error } = await answer.json().catch(() => ({}));
  if (answer.status === 403 && error?.code === "csrf" && person) {
    // The session is another one than this page began with, as after signing in in another tab.
    const me = await ask("GET", "/api/me");
    if (me.person.id !== person) throw new Refused(401, "other_person", "");
    const known = csrf;
    setSession(me);
    if (csrf !== known) return ask(method, path, body);
  }
  const seconds = Number(answer.headers.get("Retry-After")) || 0;
  throw new Refused(answer.status, String(error?.code ?? ""), String(error?.message ?? answer.status), 1000 * seconds);
}

/**
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 */
const reach = (method, path, body) => request(method, path, body).catch(unreached);

/** @returns {never} */
function unreached() {
  throw new Refused(0, "offline", "");
}

/**
 * Sends what must leave while the page closes; nobody waits for the answer.
 * @param {string} path
 * @param {unknown} body
 */
export function leave(path, body) {
  request("POST", path, body).catch(() => undefined);
}
