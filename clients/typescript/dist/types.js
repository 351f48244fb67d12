/** Short names of the API's types. `api.ts` is generated from the server's OpenAPI document. */
export {};
