// The searches made on this device: the small photos and the way to the answer, kept here and nowhere else.
import { at } from "./screen.js";
import { say } from "./words.js";

const NAME = "vitrine";
const STORE = "searches";
const MOST = 12;

function settled(request) {
  return new Promise((done, fail) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => fail(request.error);
  });
}

async function store(mode) {
  const opening = indexedDB.open(NAME, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: "when" });
  return (await settled(opening)).transaction(STORE, mode).objectStore(STORE);
}

// Newest first; none where the browser keeps nothing, as in some private windows.
async function all() {
  try {
    return (await settled((await store("readonly")).getAll())).reverse();
  } catch {
    return [];
  }
}

export async function remember(id, photos) {
  try {
    const kept = await store("readwrite");
    const keys = await settled(kept.getAllKeys());
    for (const old of keys.slice(0, Math.max(0, keys.length + 1 - MOST))) kept.delete(old);
    await settled(kept.put({ when: Date.now(), id, photo: photos[0], photos }));
  } catch { /* a convenience: the search itself goes on */ }
}

async function clear() {
  try {
    await settled((await store("readwrite")).clear());
  } catch { /* there was nothing */ }
  await draw();
}

function tile(entry, open) {
  const link = document.createElement("a");
  const box = document.createElement("span");
  const image = document.createElement("img");
  const when = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
  link.className = "tile";
  box.className = "hit-picture";
  link.href = `/s/${entry.id}`;
  link.setAttribute("aria-label", say("past", { when: when.format(entry.when) }));
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

// Shows the strip; `open` is called with the entry that is chosen.
export async function showPast(open) {
  opener = open;
  at("forget").onclick = clear;
  await draw();
}
