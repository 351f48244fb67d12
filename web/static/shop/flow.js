// A search from the photo to the answer, and from one answer to the next.
import { answered, send } from "./answers.js";
import { remember } from "./past.js";
import { shrink } from "./photo.js";
import { append, onFrame, place } from "./result.js";
import { at, body, fail, phase, preview, show, toast } from "./screen.js";
import { Trouble, call, insist, newKey, upload } from "./server.js";
import { say } from "./words.js";

const MEGABYTE = 1_000_000;

let current = { stopped: false, id: null }; // only the newest search draws

function begin() {
  current.stopped = true;
  current = { stopped: false, id: null };
  toast("");
  return current;
}

// What the search waits for, said where it is looked for.
function waiting(text) {
  if (body.dataset.state === "busy") phase(text || say("looking"));
  else toast(text);
}

// Searches with a photo, or with several of one thing.
export async function search(files) {
  if (!files.length) return;
  const mine = begin();
  const form = at("ask");
  show("busy");
  preview(URL.createObjectURL(files[0]));
  phase(say("preparing"));
  try {
    files.forEach(refuse);
    const photos = [];
    for (const file of files) photos.push(await shrink(file, Number(form.dataset.sidePx))); // one is in memory
    for (const photo of photos) refuseLarge(photo, Number(form.dataset.mostBytes));
    const fields = new FormData(form);
    fields.delete("image");
    for (const photo of photos) fields.append("image", photo, "photo");
    const key = newKey();
    const tell = (share) => !mine.stopped && (share < 1 ? phase(say("sending"), share) : phase(say("looking")));
    tell(0);
    const task = await insist(() => upload(fields, key, tell), waiting, () => mine.stopped);
    mine.id = task.id;
    remember(task.id, photos);
    await follow(`/s/${task.id}`, mine);
  } catch (trouble) {
    if (!mine.stopped) fail(trouble, () => search(files));
  }
}

// What can be said before anything is sent.
function refuse(file) {
  if (file.size === 0) throw new Trouble(say("empty_file"), 422);
  if (file.type && !file.type.startsWith("image/")) throw new Trouble(say("no_picture"), 415);
}

function refuseLarge(photo, mostBytes) {
  if (photo.size <= mostBytes) return;
  const [size, most] = [photo.size, mostBytes].map((bytes) => Math.ceil(bytes / MEGABYTE));
  throw new Trouble(say("too_big", { size, most }), 413);
}

// Waits for the answer at this address, then puts it in place.
async function follow(address, mine, push = true) {
  const url = new URL(address, location.origin);
  const html = await answered(url, waiting, () => mine.stopped);
  if (html === null) return;
  if (push && url.href !== location.href) history.pushState({}, "", url);
  show("done");
  place(html);
  document.title = `${say("result_title")} · Vitrine`;
}

// Opens a search that was made before. With `photos`, one that has expired is made again from them.
export async function open(address, { push = true, photos = null } = {}) {
  const mine = begin();
  if (body.dataset.state === "done") at("groups")?.setAttribute("aria-busy", "true");
  else {
    show("busy");
    if (photos) preview(URL.createObjectURL(photos[0]));
    phase(say("looking"));
  }
  try {
    await follow(address, mine, push);
    if (push) window.scrollTo(0, 0);
  } catch (trouble) {
    if (mine.stopped) return;
    if (photos && [404, 410].includes(trouble.status)) await search(photos);
    else fail(trouble, () => open(address, { push, photos }));
  }
}

// Asks for what a form of the result says; the answer takes the place of the one that is seen.
export async function ask(fields, picture = "") {
  const mine = begin();
  if (picture) {
    show("busy");
    preview(picture);
    phase(say("looking"));
  } else at("groups").setAttribute("aria-busy", "true");
  try {
    const { id, url } = await send(fields, waiting, () => mine.stopped);
    mine.id = id;
    await follow(url, mine);
    if (picture) window.scrollTo(0, 0);
  } catch (trouble) {
    if (mine.stopped) return;
    at("groups")?.removeAttribute("aria-busy");
    if (picture) fail(trouble, () => ask(fields, picture));
    else toast(trouble.message);
  }
}

export async function more(form) {
  const button = form.querySelector("button");
  button.setAttribute("aria-disabled", "true");
  try {
    const { url } = await send(new FormData(form), toast);
    const html = await answered(url, toast, () => !form.isConnected);
    if (html !== null) append(form, html);
  } catch (trouble) {
    toast(trouble.message);
    button.removeAttribute("aria-disabled");
  }
}

export function cancel() {
  const { id } = current;
  begin();
  if (id) call(`/v1/tasks/${id}`, { method: "DELETE" }).catch(() => { /* then it ends by itself */ });
  history.replaceState({}, "", "/");
  show("empty");
}

onFrame((fields) => ask(fields));
