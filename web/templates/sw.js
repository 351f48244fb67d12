// Caches the page's own files, so that it opens at once, and shows a page for when it is offline.
// Results and products are never cached, so the page always shows the shop's current data.
"use strict";

const ROOT = {{ (root ~ "") | tojson }};
const SHELLS = `vitrine-shell${ROOT}-`; // others of this host have other caches
const SHELL = SHELLS + {{ version | tojson }};
const SHARED = `vitrine-shared${ROOT}`;
const OFFLINE = {{ offline | tojson }};
const FILES = {{ shell | tojson }};

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(SHELL).then((cache) => cache.addAll([OFFLINE, ...FILES])).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) {
      if (name.startsWith(SHELLS) && name !== SHELL) await caches.delete(name);
    }
    await self.clients.claim();
  })());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (url.origin !== location.origin) return;
  if (request.method === "POST" && url.pathname === `${ROOT}/s` && url.searchParams.has("shared")) {
    event.respondWith(storeShared(request));
  } else if (request.method === "GET" && FILES.includes(url.pathname)) {
    event.respondWith(caches.match(request).then((cached) => cached || fetch(request)));
  } else if (request.method === "GET" && request.mode === "navigate") {
    event.respondWith(fetch(request).catch(() => caches.match(OFFLINE)));
  }
});

// Stores a picture that was shared to the app for the page, which shrinks and uploads it.
async function storeShared(request) {
  const picture = (await request.formData()).get("image");
  const cache = await caches.open(SHARED);
  if (picture) await cache.put(`${ROOT}/shared`, new Response(picture, { headers: { "Content-Type": picture.type } }));
  return Response.redirect(`${ROOT}/?shared=1`, 303);
}
