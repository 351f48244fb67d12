/** Short names of the API's types. `api.ts` is generated from the server's OpenAPI document. */
import type { components } from "../types/api.js";
type Schemas = components["schemas"];
export type SearchResult = Schemas["SearchResult"];
export type FoundObject = Schemas["FoundObject"];
export type Hit = Schemas["Hit"];
export type TaskStatus = Schemas["TaskStatus"];
export type Product = Schemas["ProductOut"];
export type Catalogue = Schemas["CatalogueOut"];
type Request = Schemas["SearchRequest"];
/** Where a photo comes from: a file of a form, or bytes. */
export type Photo = Blob | ArrayBuffer | Uint8Array;
/** Options of the API; leave out `catalogue` with a key of one catalogue. */
export type SearchOptions = Partial<Omit<Request, "image_url" | "product_id" | "query_id" | "after">>;
export interface WaitOptions {
    /** Milliseconds until the search is given up, waits for an overloaded server included. Default 60,000. */
    deadlineMs?: number;
    signal?: AbortSignal;
}
export {};
