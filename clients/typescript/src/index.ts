/** The TypeScript client of Vitrine, for browsers and Node. See docs/client.md. */

import { type CallOptions, type ClientOptions, Connection, delayMs, pause, retryAfterMs } from "./connection.js";
import { Conflict, fromAnswer, toError, Unavailable } from "./errors.js";
import type { Catalogue, Photo, Product, SearchOptions, SearchResult, TaskStatus, WaitOptions } from "./types.js";

export * from "./errors.js";
export type * from "./types.js";
export type { ClientOptions } from "./connection.js";
export type { components, paths } from "../types/api.js";

/** Seconds that the server is asked to wait for the result before it answers (`Prefer: wait`). */
const WAIT_S = 20;
const POLL = { firstMs: 100, factor: 1.5, maxMs: 2_000, jitter: 0 };
const DEADLINE_MS = 60_000;
const OPEN_STATES = ["queued", "running"];

/** Client of one Vitrine server. Its methods throw classes of `VitrineError`. */
export class Vitrine {
  readonly #connection: Connection;

  constructor(baseUrl: string, options: ClientOptions = {}) {
    this.#connection = new Connection(baseUrl, options);
  }

  /** Search by a photo, or by up to five photos of one object. */
  search(photo: Photo | Photo[], options: SearchOptions = {}, wait: WaitOptions = {}): Promise<SearchResult> {
    return this.#search(() => form(photo, options), wait);
  }

  /** Search by the photo at a web address, which the server fetches if that is allowed. */
  searchUrl(imageUrl: string, options: SearchOptions = {}, wait: WaitOptions = {}): Promise<SearchResult> {
    return this.#searchSource({ ...options, image_url: imageUrl }, wait);
  }

  /** Search for products that resemble a product of the catalogue. */
  searchProduct(productId: string, options: SearchOptions = {}, wait: WaitOptions = {}): Promise<SearchResult> {
    return this.#searchSource({ ...options, product_id: productId }, wait);
  }

  /** Repeat an earlier search by photo with other options, without sending the photo. */
  searchAgain(queryId: string, options: SearchOptions = {}, wait: WaitOptions = {}): Promise<SearchResult> {
    return this.#searchSource({ ...options, query_id: queryId }, wait);
  }

  /** Search for products that resemble those in `options.like`, and not those in `unlike`. */
  searchLike(options: SearchOptions, wait: WaitOptions = {}): Promise<SearchResult> {
    return this.#searchSource(options, wait);
  }

  /** Return the next page of a group, the only group in the answer: `after` is the group's `next`. */
  nextPage(
    after: string,
    options: Pick<SearchOptions, "top_k" | "locale" | "currency"> = {},
    wait: WaitOptions = {},
  ): Promise<SearchResult> {
    return this.#searchSource({ ...options, after }, wait);
  }

  /** Submit a search and return at once; pass the `id` of the status to `wait`. */
  beginSearch(photo: Photo | Photo[], options: SearchOptions = {}, wait: WaitOptions = {}): Promise<TaskStatus> {
    return this.#submit(() => form(photo, options), 0, deadline(wait), wait.signal);
  }

  /** Wait for the result of a submitted search. */
  async wait(taskId: string, wait: WaitOptions = {}): Promise<SearchResult> {
    return this.#result(await this.task(taskId), deadline(wait), wait.signal);
  }

  /** Return the status of a search, with its result once it has one. */
  task(taskId: string, signal?: AbortSignal): Promise<TaskStatus> {
    return this.#connection.json(`/v1/tasks/${encodeURIComponent(taskId)}`, { signal });
  }

  /** Cancel a search unless it has ended; return its status. */
  cancelSearch(taskId: string): Promise<TaskStatus> {
    return this.#connection.json(`/v1/tasks/${encodeURIComponent(taskId)}`, { method: "DELETE" });
  }

  /** Return the catalogues that the key may read. */
  catalogues(): Promise<Catalogue[]> {
    return this.#connection.json("/v1/catalogues");
  }

  /** Return a product with its pictures. */
  product(catalogue: string, productId: string): Promise<Product> {
    return this.#connection.json(productPath(catalogue, productId));
  }

  /** Return products that resemble a product: a short form of `searchProduct` for product pages. */
  async similar(
    catalogue: string,
    productId: string,
    options: Omit<SearchOptions, "catalogue" | "box" | "boosts"> = {},
    wait: WaitOptions = {},
  ): Promise<SearchResult> {
    const query = new URLSearchParams(fields(options));
    const end = deadline(wait);
    const status = await this.#connection.json<TaskStatus>(
      `${productPath(catalogue, productId)}/similar?${query}`,
      { ...waiting(Math.min(WAIT_S, secondsLeft(end))), signal: wait.signal },
    );
    return this.#result(status, end, wait.signal);
  }

  /** Return the absolute address of a hit's picture, at a size that the server offers. */
  imageUrl(hit: { image_url: string }, sizePx?: number): string {
    const url = new URL(this.#connection.baseUrl + "/");
    const address = new URL(hit.image_url, url);
    if (sizePx !== undefined) address.searchParams.set("size", String(sizePx));
    return address.href;
  }

  #searchSource(request: object, wait: WaitOptions): Promise<SearchResult> {
    return this.#search(() => JSON.stringify(request), wait);
  }

  async #search(body: () => FormData | string, wait: WaitOptions): Promise<SearchResult> {
    const end = deadline(wait);
    return this.#result(await this.#submit(body, WAIT_S, end, wait.signal), end, wait.signal);
  }

  /** Submit a search; repeat it while the server is overloaded, under one idempotency key. */
  async #submit(body: () => FormData | string, waitS: number, end: number, signal?: AbortSignal): Promise<TaskStatus> {
    const key = randomKey();
    for (;;) {
      const call = waiting(Math.min(waitS, secondsLeft(end)));
      const sent = body();
      const answer = await this.#connection.request("/v1/searches", {
        ...call,
        method: "POST",
        body: sent,
        headers: {
          ...call.headers,
          "Idempotency-Key": key,
          ...(typeof sent === "string" ? { "Content-Type": "application/json" } : {}),
        },
        accepted: [200, 202, 429],
        signal,
      });
      if (answer.status !== 429) return (await answer.json()) as TaskStatus;
      const pauseMs = retryAfterMs(answer, 1_000);
      if (Date.now() + pauseMs > end) throw await fromAnswer(answer);
      await answer.body?.cancel();
      await pause(pauseMs, signal);
    }
  }

  /** Poll a search to its end, at growing intervals. */
  async #result(status: TaskStatus, end: number, signal?: AbortSignal): Promise<SearchResult> {
    for (let polls = 1; OPEN_STATES.includes(status.state); polls++) {
      if (Date.now() > end) throw new Unavailable(`Search ${status.id} was not answered in time; poll it later.`);
      await pause(delayMs(POLL, polls), signal);
      status = await this.task(status.id, signal);
    }
    if (status.error) throw toError(status.error);
    if (!status.result) throw new Conflict(`Search ${status.id} was cancelled.`);
    return status.result;
  }
}

function productPath(catalogue: string, productId: string): string {
  return `/v1/catalogues/${encodeURIComponent(catalogue)}/products/${encodeURIComponent(productId)}`;
}

function deadline(wait: WaitOptions): number {
  return Date.now() + (wait.deadlineMs ?? DEADLINE_MS);
}

function secondsLeft(end: number): number {
  return Math.max(0, Math.floor((end - Date.now()) / 1000));
}

/** A random key. Browsers have `randomUUID` on https pages only, and Node 18 not at all. */
function randomKey(): string {
  const plain = () => Array.from({ length: 3 }, () => Math.random().toString(36).slice(2)).join("");
  return globalThis.crypto?.randomUUID?.() ?? plain();
}

function waiting(seconds: number): Pick<CallOptions, "headers" | "timeoutMs"> {
  return seconds > 0 ? { headers: { Prefer: `wait=${seconds}` }, timeoutMs: seconds * 1000 } : {};
}

function form(photo: Photo | Photo[], options: SearchOptions): FormData {
  const body = new FormData();
  for (const each of Array.isArray(photo) ? photo : [photo]) {
    body.append("image", each instanceof Blob ? each : new Blob([each as BlobPart]), "photo");
  }
  for (const [name, value] of Object.entries(fields(options))) body.append(name, value);
  return body;
}

/** Options as texts of a form or query: lists of plain values with commas, others as JSON. */
function fields(options: object): Record<string, string> {
  const given = Object.entries(options).filter(([, value]) => value !== undefined && value !== null);
  return Object.fromEntries(
    given.map(([name, value]) => {
      const plain = Array.isArray(value) && value.length > 0 && value.every((each) => typeof each !== "object");
      if (plain) return [name, value.join(",")];
      return [name, typeof value === "object" ? JSON.stringify(value) : String(value)];
    }),
  );
}
