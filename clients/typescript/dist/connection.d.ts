/** Send requests, retry them where that is safe, and raise typed errors. */
export interface Backoff {
    firstMs: number;
    factor: number;
    maxMs: number;
    /** Maximum share that is taken off at random, so that clients which failed together do not come back together. */
    jitter: number;
}
export declare const RETRY: Backoff;
export interface ClientOptions {
    /** Sent as `Authorization: Bearer`. In a browser only a publishable key (`vt_…`). */
    apiKey?: string;
    /** Timeout of one request without an answer. Default 30,000. */
    timeoutMs?: number;
    /** Maximum number of retries of a request. Default 3. */
    retries?: number;
    /** Replaces the global `fetch`. */
    fetch?: typeof fetch;
}
export interface CallOptions {
    method?: string;
    headers?: Record<string, string>;
    body?: FormData | string;
    signal?: AbortSignal | undefined;
    accepted?: readonly number[];
    timeoutMs?: number;
}
/** Delay before the next attempt after `attempts` attempts, counted from 1. */
export declare function delayMs(backoff: Backoff, attempts: number): number;
/** Milliseconds in `Retry-After`, or `otherwise` without the header. */
export declare function retryAfterMs(answer: Response, otherwise: number): number;
/** Wait, or throw the signal's reason. */
export declare function pause(ms: number, signal?: AbortSignal): Promise<void>;
export declare class Connection {
    #private;
    readonly baseUrl: string;
    constructor(baseUrl: string, options?: ClientOptions);
    /** Send a request, retry it where that is safe and may help, and throw the error of other answers. */
    request(path: string, call?: CallOptions): Promise<Response>;
    /** Send a request and parse its answer. */
    json<T>(path: string, call?: CallOptions): Promise<T>;
}
