// Polls a search until it has a result, with back-off and across lost connections.
import { root } from "./root.js";
import { RequestError, call, withRetries, pause } from "./server.js";
import { translate } from "./texts.js";

const HOLD_S = 5; // the server holds a request for as long, if it has a thread for that
const MIN_WAIT_MS = 120;
const MAX_WAIT_MS = 2000;
const MAX_POLLS = 75;

// Returns the result as HTML, or null once `stopped` returns true.
export async function waitForResult(address, notify, stopped = () => false) {
  const url = new URL(address, location.origin);
  const headers = { Accept: "text/html", Prefer: `wait=${HOLD_S}` };
  const poll = () => call(`${url.pathname}/part${url.search}`, { headers });
  let waitMs = MIN_WAIT_MS;
  for (let polls = 0; polls < MAX_POLLS && !stopped(); polls += 1) {
    const asked = performance.now();
    const answer = await withRetries(poll, notify, stopped);
    const text = await answer.text();
    if (answer.status === 200) return stopped() ? null : text;
    // The first line is the state; after ten seconds a second line gives the reason.
    const [state, reason] = text.split("\n");
    if (reason) notify(reason);
    else if (state === "queued" && polls) notify(translate("queued"));
    if (performance.now() - asked > HOLD_S * 900) continue; // it was held, so no pause is needed
    await pause(waitMs);
    waitMs = Math.min(waitMs * 1.3, MAX_WAIT_MS);
  }
  if (stopped()) return null;
  throw new RequestError(translate("too_long"), 503);
}

// Starts the search of a form; returns its id and address.
export async function send(fields, notify, stopped) {
  const body = new URLSearchParams(fields);
  return (await withRetries(() => call(`${root}/s`, { method: "POST", body }), notify, stopped)).json();
}
