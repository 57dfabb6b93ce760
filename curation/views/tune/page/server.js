// Asks the server. A move is never queued: while one is being answered only the latest is remembered.

export class Refused extends Error {}

export async function ask(path, body, signal) {
  let response;
  try {
    response = await fetch(path, body === undefined ? { signal } : {
      method: "POST", signal,
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server has stopped. Start `curate tune` again and open the address that it prints.");
  }
  if (response.ok) return response.json();
  const said = await response.json().catch(() => ({}));
  throw new Refused(typeof said.error === "string" ? said.error : `The server answered ${response.status}.`);
}

// Calls `work` with the latest of what it was given, one at a time.
export function latestOnly(work) {
  let busy = false;
  let waiting = null;
  return async function run(given) {
    if (busy) {
      waiting = given;
      return;
    }
    busy = true;
    try {
      await work(given);
    } finally {
      busy = false;
      if (waiting !== null) {
        const next = waiting;
        waiting = null;
        run(next);
      }
    }
  };
}
