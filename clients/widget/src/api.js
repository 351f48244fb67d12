// Calls of the API with the publishable key: a search waits for its result, and a busy server is asked again.
import { config, warn } from "./config.js";
import { errorText, language, text } from "./texts.js";

const WAIT_S = 20;
const MAX_WAIT_MS = 60_000;
const RETRIES = 3;

export class SearchError extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// What the shop's developer has to do about an error.
const ADVICE = {
  unauthorized: "the key in data-key is wrong, expired or revoked; `vitrine keys list` shows the keys.",
  refused: `the key does not list this page's origin (${location.origin}); create one with --origin ${location.origin}.`,
  unknown_catalogue: "the catalogue in data-catalogue does not exist, or the key is for another one.",
  overloaded: "the limit of the key or of this address is reached.",
};

async function call(path, options = {}) {
  const headers = { Accept: "application/json", Prefer: `wait=${WAIT_S}`, ...options.headers };
  if (config.key) headers.Authorization = `Bearer ${config.key}`;
  for (let attempt = 0; ; attempt += 1) {
    let answer;
    try {
      answer = await fetch(config.server + path, { ...options, headers, credentials: "omit" });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      warn(`${config.server} cannot be reached from ${location.origin}. Offline, blocked by connect-src, or the key of another origin: ${error.message}`);
      throw new SearchError(text("unreachable"), "unreachable");
    }
    if (answer.ok) return answer.json();
    if ([429, 503].includes(answer.status) && attempt < RETRIES) {
      const seconds = Number(answer.headers.get("Retry-After")) || 1;
      if (seconds <= 10) {
        await pause(seconds * 1000);
        continue;
      }
    }
    const { error = {} } = await answer.json().catch(() => ({}));
    throw failure(error.code || `http_${answer.status}`, error.message || "");
  }
}

function failure(code, message) {
  warn(`${code}: ${message} ${ADVICE[code] ? `For the shop: ${ADVICE[code]}` : ""}`);
  return new SearchError(errorText(code), code);
}

async function finish(task, signal) {
  const end = Date.now() + MAX_WAIT_MS;
  for (let waitMs = 200; ["queued", "running"].includes(task.state); waitMs = Math.min(waitMs * 1.5, 2000)) {
    if (Date.now() > end) throw new SearchError(text("too_long"), "too_long");
    await pause(waitMs);
    task = await call(`v1/tasks/${task.id}`, { signal });
  }
  if (task.result) return task.result;
  throw failure(task.error?.code || "cancelled", task.error?.message || "");
}

const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

function options() {
  const given = { catalogue: config.catalogue, locale: locale(), currency: config.currency, top_k: config.topK };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value));
}

// The API takes locales such as de, pt_BR or zh_Hant.
function locale() {
  return language().replace("-", "_");
}

// Searches with a photo; the same key makes repeated uploads one search.
export async function searchPhoto(photo, signal) {
  const body = new FormData();
  for (const [name, value] of Object.entries(options())) body.append(name, value);
  body.append("image", photo, "photo");
  return finish(await call("v1/searches", { method: "POST", body, signal, headers: { "Idempotency-Key": newKey() } }), signal);
}

// Searches again with the stored photo: another frame, filter or page.
export async function searchAgain(change, signal) {
  const body = JSON.stringify(change.after ? change : { ...options(), ...change });
  const headers = { "Content-Type": "application/json", "Idempotency-Key": newKey() };
  return finish(await call("v1/searches", { method: "POST", body, signal, headers }), signal);
}

export async function similar(productId, count) {
  const { catalogue, ...others } = options();
  const query = new URLSearchParams({ ...others, top_k: count });
  const path = `v1/catalogues/${encodeURIComponent(catalogue)}/products/${encodeURIComponent(productId)}/similar?${query}`;
  return finish(await call(path));
}

export function pictureUrl(address, size) {
  const url = new URL(address, config.server);
  url.searchParams.set("size", size);
  if (config.key) url.searchParams.set("key", config.key);
  return url.href;
}
