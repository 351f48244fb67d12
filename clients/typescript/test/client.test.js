// Run by tests/integration/test_typescript_client.py, which serves a real Vitrine at VITRINE_URL.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import test, { after, before, beforeEach } from "node:test";

import * as client from "../dist/index.js";

const { Vitrine } = client;
const RESULT = { query_id: "q", catalogue: "demo", objects: [], whole: { hits: [] }, timings_ms: {}, models: {} };
const HANG_UP = 0;
const task = (state, more = {}) => ({ id: "7", state, created_at: "2026-01-01T00:00:00Z", ...more });
const failure = (code) => ({ error: { code, message: "It is wrong.", field: "image", request_id: "r1" } });
const DONE = [200, task("succeeded", { result: RESULT })];

/** Answers in order, the last one for ever, and the requests that came. */
let answers, headers, seen, server, address;

before(async () => {
  server = createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
      seen.push({ method: request.method, url: request.url, headers: request.headers, body: Buffer.concat(parts).toString() });
      const [status, body] = answers.length > 1 ? answers.shift() : answers[0];
      if (status === HANG_UP) return request.socket.destroy();
      response.writeHead(status, headers);
      response.end(typeof body === "string" ? body : JSON.stringify(body));
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  address = `http://127.0.0.1:${server.address().port}/`;
});
after(() => server.close());
beforeEach(() => ([answers, headers, seen] = [[], {}, []]));

const open = (options = {}) => new Vitrine(address, { apiKey: "vt_key", retries: 0, ...options });

test("a search polls until the answer is there", async () => {
  answers = [[202, task("queued")], [200, task("running")], DONE];
  const found = await open().search(new Uint8Array([1, 2]), { top_k: 3, box: [0.1, 0.2, 0.5, 0.6], detect: false });
  assert.equal(found.query_id, "q");
  assert.deepEqual(seen.map((each) => each.url), ["/v1/searches", "/v1/tasks/7", "/v1/tasks/7"]);
  assert.equal(seen[0].headers.authorization, "Bearer vt_key");
  assert.equal(seen[0].headers.prefer, "wait=20");
  for (const part of ["0.1,0.2,0.5,0.6", 'name="top_k"', "false"]) assert.ok(seen[0].body.includes(part), part);
});

test("an overloaded server gets the same search again", async () => {
  answers = [[429, failure("overloaded")], DONE];
  headers = { "Retry-After": "0" };
  await open().search(new Blob(["a photo"]));
  assert.equal(seen.length, 2);
  assert.equal(new Set(seen.map((each) => each.headers["idempotency-key"])).size, 1);
});

test("a search gives up at its deadline", async () => {
  answers = [[202, task("queued")]];
  await assert.rejects(open().search(new Blob(["x"]), {}, { deadlineMs: 300 }), client.Unavailable);
  answers = [[429, failure("overloaded")]];
  headers = { "Retry-After": "3600" };
  await assert.rejects(open().search(new Blob(["x"]), {}, { deadlineMs: 300 }), client.Overloaded);
});

test("an aborted search ends at once", async () => {
  answers = [[202, task("queued")]];
  const stop = new AbortController();
  const reason = new Error("the shopper closed the page");
  setTimeout(() => stop.abort(reason), 100);
  await assert.rejects(open().search(new Blob(["x"]), {}, { signal: stop.signal }), reason);
});

test("errors are classes with code, field and request id", async () => {
  answers = [[404, failure("unknown_product")]];
  await assert.rejects(open().product("shop", "a/b"), (error) => {
    assert.ok(error instanceof client.UnknownProduct && error instanceof client.NotFound);
    assert.deepEqual([error.name, error.code, error.field, error.requestId, error.retryable],
      ["UnknownProduct", "unknown_product", "image", "r1", false]);
    return true;
  });
  assert.equal(seen[0].url, "/v1/catalogues/shop/products/a%2Fb");
  answers = [[418, failure("of_a_newer_server")]];
  await assert.rejects(open().catalogues(), { name: "VitrineError", code: "of_a_newer_server" });
  answers = [[502, "<html>a proxy's page</html>"]];
  await assert.rejects(open().catalogues(), client.Unavailable);
  answers = [[200, "<html>another program</html>"]];
  await assert.rejects(open().catalogues(), /another program/);
  answers = [[200, task("failed", failure("undecodable_image"))]];
  await assert.rejects(open().search(new Blob(["x"])), client.UndecodableImage);
  answers = [[200, task("cancelled")]];
  await assert.rejects(open().search(new Blob(["x"])), client.Conflict);
});

test("reads and searches are sent again after a lost answer", async () => {
  answers = [[HANG_UP], [200, []]];
  assert.deepEqual(await open({ retries: 1 }).catalogues(), []);
  answers = [[HANG_UP], DONE];
  await open({ retries: 1 }).search(new Blob(["x"]));
  answers = [[HANG_UP]];
  await assert.rejects(open().catalogues(), client.Unavailable);
  answers = [[503, failure("index_unavailable")], [200, []]];
  assert.deepEqual(await open({ retries: 1 }).catalogues(), []);
  answers = [[503, failure("index_unavailable")]];
  await assert.rejects(open().catalogues(), client.IndexUnavailable);
});

test("a server that is away raises Unavailable", async () => {
  await assert.rejects(new Vitrine("http://127.0.0.1:9", { retries: 0 }).catalogues(),
    { name: "Unavailable", code: "unavailable", retryable: true });
});

test("the sources of a search", async () => {
  answers = [DONE];
  const shop = open();
  await shop.searchUrl("https://x.example/a.jpg");
  await shop.searchProduct("chair", { top_k: 2 });
  await shop.searchAgain("00000000-0000-0000-0000-000000000000");
  await shop.searchLike({ like: ["chair"] });
  await shop.nextPage("x", { currency: "JPY" });
  await shop.similar("shop", "a chair", { filter: "price < 9", like: ["b", "c"] });
  assert.deepEqual(seen.slice(0, 5).map((each) => JSON.parse(each.body)), [
    { image_url: "https://x.example/a.jpg" },
    { top_k: 2, product_id: "chair" },
    { query_id: "00000000-0000-0000-0000-000000000000" },
    { like: ["chair"] },
    { currency: "JPY", after: "x" },
  ]);
  assert.equal(seen[5].url, "/v1/catalogues/shop/products/a%20chair/similar?filter=price+%3C+9&like=b%2Cc");
  assert.equal(shop.imageUrl({ image_url: "/v1/images/1" }, 320), `${address}v1/images/1?size=320`);
});

test("against a real server", { skip: !process.env.VITRINE_URL }, async () => {
  const shop = new Vitrine(process.env.VITRINE_URL);
  const photo = Buffer.from(process.env.VITRINE_PHOTO, "base64");
  const found = await shop.search(photo, { catalogue: "demo", top_k: 4, locale: "de" });
  assert.equal(found.objects.length, 2);
  const [hit] = found.whole.hits;
  assert.match(hit.title, /^Ding/);
  const picture = await fetch(shop.imageUrl(hit, 320));
  assert.deepEqual([picture.status, picture.headers.get("content-type")], [200, "image/webp"]);
  const again = await shop.searchAgain(found.query_id, { catalogue: "demo", filter: "price < 5" });
  assert.ok(again.whole.hits.every((each) => Number(each.price) < 5));
  const more = await shop.nextPage((await shop.search(photo, { catalogue: "demo", top_k: 40 })).whole.next);
  assert.ok(more.objects.length + more.whole.hits.length > 0);
  assert.equal((await shop.product("demo", hit.product_id)).product_id, hit.product_id);
  const similar = await shop.similar("demo", "thing-1", { top_k: 3 });
  assert.equal(similar.whole.hits.length, 3);
  const begun = await shop.beginSearch(photo, { catalogue: "demo" });
  assert.equal((await shop.wait(begun.id)).query_id, begun.id);
  assert.equal((await shop.catalogues())[0].name, "demo");
  await assert.rejects(shop.search(Buffer.from("no photo"), { catalogue: "demo" }), client.InvalidInput);
  await assert.rejects(shop.search(photo, { catalogue: "none" }), client.UnknownCatalogue);
  await assert.rejects(shop.product("demo", "none"), client.UnknownProduct);
});
