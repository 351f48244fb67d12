// Recent searches, stored only on this device: photos and addresses of results.
import { root } from "./root.js";
import { at } from "./screen.js";
import { locale, translate } from "./texts.js";

const NAME = `vitrine${root}`; // other shops may be on the same host
const STORE = "searches";
const MAX_ENTRIES = 12;

function toPromise(request) {
  return new Promise((done, fail) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => fail(request.error);
  });
}

async function store(mode) {
  const opening = indexedDB.open(NAME, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: "when" });
  return (await toPromise(opening)).transaction(STORE, mode).objectStore(STORE);
}

// Returns all entries, newest first; none if the browser stores nothing, as in some private windows.
async function all() {
  try {
    return (await toPromise((await store("readonly")).getAll())).reverse();
  } catch {
    return [];
  }
}

export async function remember(id, photos) {
  try {
    const kept = await store("readwrite");
    const keys = await toPromise(kept.getAllKeys());
    for (const old of keys.slice(0, Math.max(0, keys.length + 1 - MAX_ENTRIES))) kept.delete(old);
    await toPromise(kept.put({ when: Date.now(), id, photo: photos[0], photos }));
  } catch { /* the history is optional; the search continues */ }
}

async function clear() {
  try {
    await toPromise((await store("readwrite")).clear());
  } catch { /* there was no history */ }
  await draw();
}

function tile(entry, open) {
  const link = document.createElement("a");
  const box = document.createElement("span");
  const image = document.createElement("img");
  const when = new Intl.DateTimeFormat(locale(), { dateStyle: "medium", timeStyle: "short" });
  link.className = "tile";
  box.className = "hit-picture";
  link.href = `${root}/s/${entry.id}`;
  link.setAttribute("aria-label", translate("search_from", { when: when.format(entry.when) }));
  image.src = URL.createObjectURL(entry.photo);
  image.alt = "";
  image.onload = () => URL.revokeObjectURL(image.src);
  link.addEventListener("click", (event) => {
    event.preventDefault();
    open(entry);
  });
  box.append(image);
  link.append(box);
  const item = document.createElement("li");
  item.append(link);
  return item;
}

let opener;

async function draw() {
  const entries = await all();
  at("past").hidden = entries.length === 0;
  at("past-tiles").replaceChildren(...entries.map((entry) => tile(entry, opener)));
}

// Shows the strip; `open` is called with the selected entry.
export async function showHistory(open) {
  opener = open;
  at("forget").onclick = clear;
  await draw();
}
