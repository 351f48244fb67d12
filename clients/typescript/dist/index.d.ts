/** The TypeScript client of Vitrine, for browsers and Node. See docs/client.md. */
import { type ClientOptions } from "./connection.js";
import type { Catalogue, Photo, Product, SearchOptions, SearchResult, TaskStatus, WaitOptions } from "./types.js";
export * from "./errors.js";
export type * from "./types.js";
export type { ClientOptions } from "./connection.js";
export type { components, paths } from "../types/api.js";
/** Client of one Vitrine server. Its methods throw classes of `VitrineError`. */
export declare class Vitrine {
    #private;
    constructor(baseUrl: string, options?: ClientOptions);
    /** Search by a photo, or by up to five photos of one object. */
    search(photo: Photo | Photo[], options?: SearchOptions, wait?: WaitOptions): Promise<SearchResult>;
    /** Search by the photo at a web address, which the server fetches if that is allowed. */
    searchUrl(imageUrl: string, options?: SearchOptions, wait?: WaitOptions): Promise<SearchResult>;
    /** Search for products that resemble a product of the catalogue. */
    searchProduct(productId: string, options?: SearchOptions, wait?: WaitOptions): Promise<SearchResult>;
    /** Repeat an earlier search by photo with other options, without sending the photo. */
    searchAgain(queryId: string, options?: SearchOptions, wait?: WaitOptions): Promise<SearchResult>;
    /** Search for products that resemble those in `options.like`, and not those in `unlike`. */
    searchLike(options: SearchOptions, wait?: WaitOptions): Promise<SearchResult>;
    /** Return the next page of a group, the only group in the answer: `after` is the group's `next`. */
    nextPage(after: string, options?: Pick<SearchOptions, "top_k" | "locale" | "currency">, wait?: WaitOptions): Promise<SearchResult>;
    /** Submit a search and return at once; pass the `id` of the status to `wait`. */
    beginSearch(photo: Photo | Photo[], options?: SearchOptions, wait?: WaitOptions): Promise<TaskStatus>;
    /** Wait for the result of a submitted search. */
    wait(taskId: string, wait?: WaitOptions): Promise<SearchResult>;
    /** Return the status of a search, with its result once it has one. */
    task(taskId: string, signal?: AbortSignal): Promise<TaskStatus>;
    /** Cancel a search unless it has ended; return its status. */
    cancelSearch(taskId: string): Promise<TaskStatus>;
    /** Return the catalogues that the key may read. */
    catalogues(): Promise<Catalogue[]>;
    /** Return a product with its pictures. */
    product(catalogue: string, productId: string): Promise<Product>;
    /** Return products that resemble a product: a short form of `searchProduct` for product pages. */
    similar(catalogue: string, productId: string, options?: Omit<SearchOptions, "catalogue" | "box" | "boosts">, wait?: WaitOptions): Promise<SearchResult>;
    /** Return the absolute address of a hit's picture, at a size that the server offers. */
    imageUrl(hit: {
        image_url: string;
    }, sizePx?: number): string;
}
