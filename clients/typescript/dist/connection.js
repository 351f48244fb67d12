/** Send requests, retry them where that is safe, and raise typed errors. */
import { fromAnswer, Unavailable, VitrineError } from "./errors.js";
/** Statuses of requests that changed nothing: the same request may be sent again. */
const RETRYABLE_STATUSES = [429, 503];
/** Idempotent methods: they may be repeated even if the outcome of the first request is unknown. */
const IDEMPOTENT_METHODS = ["GET", "HEAD", "PUT", "DELETE"];
/** Codes of Node's network errors after which the request never arrived. Browsers do not say. */
const NEVER_ARRIVED = ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "UND_ERR_CONNECT_TIMEOUT"];
export const RETRY = { firstMs: 250, factor: 2, maxMs: 30_000, jitter: 0.5 };
/** Delay before the next attempt after `attempts` attempts, counted from 1. */
export function delayMs(backoff, attempts) {
    const delay = Math.min(backoff.firstMs * backoff.factor ** (attempts - 1), backoff.maxMs);
    return delay * (1 - Math.random() * backoff.jitter);
}
/** Milliseconds in `Retry-After`, or `otherwise` without the header. */
export function retryAfterMs(answer, otherwise) {
    const value = answer.headers.get("Retry-After") ?? "";
    return /^\d+$/.test(value) ? Number(value) * 1000 : otherwise;
}
/** Wait, or throw the signal's reason. */
export function pause(ms, signal) {
    return new Promise((resolve, reject) => {
        const stop = () => {
            clearTimeout(timer);
            reject(signal?.reason);
        };
        const timer = setTimeout(() => {
            signal?.removeEventListener("abort", stop);
            resolve();
        }, ms);
        if (signal?.aborted)
            stop();
        else
            signal?.addEventListener("abort", stop, { once: true });
    });
}
export class Connection {
    baseUrl;
    #options;
    constructor(baseUrl, options = {}) {
        this.baseUrl = baseUrl.replace(/\/$/, "");
        this.#options = options;
    }
    /** Send a request, retry it where that is safe and may help, and throw the error of other answers. */
    async request(path, call = {}) {
        const { method = "GET", headers = {}, accepted = [200, 202] } = call;
        const repeatable = IDEMPOTENT_METHODS.includes(method) || "Idempotency-Key" in headers;
        for (let attempt = 1, left = this.#options.retries ?? 3;; attempt++, left--) {
            let waitMs = delayMs(RETRY, attempt);
            try {
                const answer = await this.#send(path, method, headers, call);
                if (accepted.includes(answer.status))
                    return answer;
                if (left <= 0 || !RETRYABLE_STATUSES.includes(answer.status))
                    throw await fromAnswer(answer);
                waitMs = Math.max(waitMs, Math.min(retryAfterMs(answer, 0), RETRY.maxMs));
                await answer.body?.cancel();
            }
            catch (error) {
                if (!(error instanceof LostConnection))
                    throw error;
                if (left <= 0 || !(repeatable || error.neverArrived))
                    throw error;
            }
            await pause(waitMs, call.signal);
        }
    }
    /** Send a request and parse its answer. */
    async json(path, call = {}) {
        const answer = await this.request(path, call);
        try {
            return (await answer.json());
        }
        catch (cause) {
            const message = `The answer of ${answer.url} is not Vitrine's: is another program running there?`;
            throw new VitrineError(message, {}, { cause });
        }
    }
    async #send(path, method, headers, call) {
        const { apiKey, timeoutMs = 30_000, fetch: send = fetch } = this.#options;
        const limit = AbortSignal.timeout(timeoutMs + (call.timeoutMs ?? 0));
        const stop = new AbortController();
        const abort = () => stop.abort(call.signal?.reason);
        const expire = () => stop.abort(limit.reason);
        if (call.signal?.aborted)
            abort();
        call.signal?.addEventListener("abort", abort, { once: true });
        limit.addEventListener("abort", expire, { once: true });
        try {
            return await send(this.baseUrl + path, {
                method,
                headers: { Accept: "application/json", ...(apiKey ? { Authorization: `Bearer ${apiKey}` } : {}), ...headers },
                ...(call.body === undefined ? {} : { body: call.body }),
                // A publishable key is all that this needs: a visitor's cookies are not sent to another site.
                credentials: "omit",
                signal: stop.signal,
            });
        }
        catch (cause) {
            if (call.signal?.aborted)
                throw call.signal.reason;
            throw new LostConnection(this.baseUrl, cause);
        }
        finally {
            call.signal?.removeEventListener("abort", abort);
        }
    }
}
class LostConnection extends Unavailable {
    static code = "unavailable";
    neverArrived;
    constructor(baseUrl, cause) {
        super(`Vitrine cannot be reached at ${baseUrl}: ${text(cause)}`, {}, { cause });
        this.name = "Unavailable";
        this.neverArrived = NEVER_ARRIVED.includes(cause?.cause?.code ?? "");
    }
}
function text(cause) {
    const inner = cause?.cause?.message;
    return inner || (cause instanceof Error ? cause.message : String(cause));
}
