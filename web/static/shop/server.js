// Requests to the server, with timeouts, retries and back-off for weak networks.
import { root } from "./root.js";
import { translate, translateError } from "./texts.js";

const TIMEOUT_MS = 20_000;
const UPLOAD_TIMEOUT_MS = 90_000;
const BACKOFF_MS = [1000, 2000, 4000, 8000, 16_000];
const RETRYABLE_STATUSES = [0, 408, 429, 502, 503, 504];

export class RequestError extends Error {
  constructor(message, status, retryAfterMs = 0) {
    super(message);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }

  // Whether the same request may succeed a little later.
  get retryable() {
    return RETRYABLE_STATUSES.includes(this.status);
  }
}

function toError(status, text, retryAfter) {
  let message = translate("internal");
  try {
    const { error } = JSON.parse(text);
    message = translateError(error.code) || error.message;
  } catch { /* not an answer of Vitrine, perhaps a proxy's page */ }
  return new RequestError(message, status, 1000 * (Number(retryAfter) || 0));
}

export async function call(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, {
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...options,
      headers: { Accept: "application/json", ...options.headers },
    });
  } catch {
    throw new RequestError(translate("unreachable"), 0);
  }
  if (answer.ok) return answer;
  throw toError(answer.status, await answer.text(), answer.headers.get("Retry-After"));
}

// Uploads a form with a photo; with the idempotency key, repeated uploads create one search.
export function upload(form, key, notify) {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${root}/v1/searches`);
    request.timeout = UPLOAD_TIMEOUT_MS;
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("Idempotency-Key", key);
    request.upload.onprogress = (event) => event.lengthComputable && notify(event.loaded / event.total);
    request.onerror = request.ontimeout = () => fail(new RequestError(translate("unreachable"), 0));
    request.onload = () => {
      if (request.status < 300) done(JSON.parse(request.responseText));
      else fail(toError(request.status, request.responseText, request.getResponseHeader("Retry-After")));
    };
    request.send(form);
  });
}

export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Waits; ends early when the device wakes up or is online again.
export function pause(ms) {
  return new Promise((done) => {
    const listening = new AbortController();
    const end = () => { clearTimeout(timer); listening.abort(); done(); };
    const timer = setTimeout(end, ms);
    const { signal } = listening;
    window.addEventListener("online", end, { signal });
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && end(), { signal });
  });
}

async function waitUntilOnline(notify) {
  if (navigator.onLine) return;
  notify(translate("offline"));
  while (!navigator.onLine) await pause(60_000);
  notify("");
}

// Repeats the attempt until it succeeds, fails for good, or `stopped` returns true; reports waits to `notify`.
export async function withRetries(attempt, notify, stopped = () => false) {
  for (let tries = 0; ; tries += 1) {
    await waitUntilOnline(notify);
    try {
      return await attempt();
    } catch (error) {
      if (!error.retryable || stopped() || tries === BACKOFF_MS.length) throw error;
      const waitMs = Math.max(BACKOFF_MS[tries], error.retryAfterMs);
      const seconds = Math.ceil(waitMs / 1000);
      notify(translate(error.status === 429 ? "busy_server" : "retrying", { seconds }));
      await pause(waitMs);
      notify("");
    }
  }
}
