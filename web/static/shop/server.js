// Talking to the server over a network that may be weak, asleep or away.
import { say, sayError } from "./words.js";

const TOO_LONG_MS = 20_000;
const UPLOAD_TOO_LONG_MS = 90_000;
const RESTS_MS = [1000, 2000, 4000, 8000, 16_000];
const PASSING = [0, 408, 429, 502, 503, 504];

export class Trouble extends Error {
  constructor(message, status, retryAfterMs = 0) {
    super(message);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }

  // Whether the same request may succeed a little later.
  get passing() {
    return PASSING.includes(this.status);
  }
}

function asTrouble(status, text, retryAfter) {
  let message = say("wrong");
  try {
    const { error } = JSON.parse(text);
    message = sayError(error.code) || error.message;
  } catch { /* not ours: a proxy's page, perhaps */ }
  return new Trouble(message, status, 1000 * (Number(retryAfter) || 0));
}

export async function call(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, {
      signal: AbortSignal.timeout(TOO_LONG_MS),
      ...options,
      headers: { Accept: "application/json", ...options.headers },
    });
  } catch {
    throw new Trouble(say("unreachable"), 0);
  }
  if (answer.ok) return answer;
  throw asTrouble(answer.status, await answer.text(), answer.headers.get("Retry-After"));
}

// Sends a form with a photo; `key` makes one search of it, however often it is sent.
export function upload(form, key, tell) {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/v1/searches");
    request.timeout = UPLOAD_TOO_LONG_MS;
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("Idempotency-Key", key);
    request.upload.onprogress = (event) => event.lengthComputable && tell(event.loaded / event.total);
    request.onerror = request.ontimeout = () => fail(new Trouble(say("unreachable"), 0));
    request.onload = () => {
      if (request.status < 300) done(JSON.parse(request.responseText));
      else fail(asTrouble(request.status, request.responseText, request.getResponseHeader("Retry-After")));
    };
    request.send(form);
  });
}

export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Waits; a device that wakes up or finds a network again does not sit out the rest.
export function rest(ms) {
  return new Promise((done) => {
    const listening = new AbortController();
    const end = () => { clearTimeout(timer); listening.abort(); done(); };
    const timer = setTimeout(end, ms);
    const { signal } = listening;
    window.addEventListener("online", end, { signal });
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && end(), { signal });
  });
}

async function connected(tell) {
  if (navigator.onLine) return;
  tell(say("offline"));
  while (!navigator.onLine) await rest(60_000);
  tell("");
}

// Tries until it works, the trouble is no passing one, or `stopped` says so; tells what it waits for.
export async function insist(attempt, tell, stopped = () => false) {
  for (let tries = 0; ; tries += 1) {
    await connected(tell);
    try {
      return await attempt();
    } catch (trouble) {
      if (!trouble.passing || stopped() || tries === RESTS_MS.length) throw trouble;
      const waitMs = Math.max(RESTS_MS[tries], trouble.retryAfterMs);
      const seconds = Math.ceil(waitMs / 1000);
      tell(say(trouble.status === 429 ? "busy_server" : "again", { seconds }));
      await rest(waitMs);
      tell("");
    }
  }
}
