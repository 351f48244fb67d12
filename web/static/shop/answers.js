// Waits for the answer of a search at its address, as long as it may take and wherever the device goes.
import { Trouble, call, insist, rest } from "./server.js";
import { say } from "./words.js";

const FIRST_WAIT_MS = 120;
const LONGEST_WAIT_MS = 2000;
const MOST_POLLS = 75;

// Returns the server's HTML, or null once `stopped` says that nobody waits any more.
export async function answered(address, tell, stopped = () => false) {
  const url = new URL(address, location.origin);
  const asked = () => call(`${url.pathname}/part${url.search}`, { headers: { Accept: "text/html" } });
  let waitMs = FIRST_WAIT_MS;
  for (let polls = 0; polls < MOST_POLLS && !stopped(); polls += 1) {
    const answer = await insist(asked, tell, stopped);
    const text = await answer.text();
    if (answer.status === 200) return stopped() ? null : text;
    // The state, and after ten seconds a second line that says why.
    const [state, reason] = text.split("\n");
    if (reason) tell(reason);
    else if (waitMs === LONGEST_WAIT_MS && state === "queued") tell(say("queued"));
    await rest(waitMs);
    waitMs = Math.min(waitMs * 1.3, LONGEST_WAIT_MS);
  }
  if (stopped()) return null;
  throw new Trouble(say("too_long"), 503);
}

// Asks for what the fields of a form say; returns the new search's id and address.
export async function send(fields, tell, stopped) {
  const body = new URLSearchParams(fields);
  return (await insist(() => call("/s", { method: "POST", body }), tell, stopped)).json();
}
