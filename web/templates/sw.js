// Keeps the page's own files on the device, so that it opens at once, and says so when it is offline.
// Results and products are never kept: what is shown is what the shop has now.
"use strict";

const SHELL = {{ ("vitrine-shell-" ~ version) | tojson }};
const SHARED = "vitrine-shared";
const OFFLINE = {{ offline | tojson }};
const FILES = {{ shell | tojson }};

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(SHELL).then((cache) => cache.addAll([OFFLINE, ...FILES])).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) {
      if (name !== SHELL && name !== SHARED) await caches.delete(name);
    }
    await self.clients.claim();
  })());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (url.origin !== location.origin) return;
  if (request.method === "POST" && url.pathname === "/s" && url.searchParams.has("shared")) {
    event.respondWith(takeShared(request));
  } else if (request.method === "GET" && FILES.includes(url.pathname)) {
    event.respondWith(caches.match(request).then((kept) => kept || fetch(request)));
  } else if (request.method === "GET" && request.mode === "navigate") {
    event.respondWith(fetch(request).catch(() => caches.match(OFFLINE)));
  }
});

// A picture from the phone's menu of sharing: put down for the page, which makes it small and sends it.
async function takeShared(request) {
  const picture = (await request.formData()).get("image");
  const cache = await caches.open(SHARED);
  if (picture) await cache.put("/shared", new Response(picture, { headers: { "Content-Type": picture.type } }));
  return Response.redirect("/?shared=1", 303);
}
