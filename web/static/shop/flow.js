// The flow of a search from photo to result, and from one result to the next.
import { waitForResult, send } from "./answers.js";
import { remember } from "./history.js";
import { shrink } from "./photo.js";
import { countCards, focusAfter, onFrame, place } from "./result.js";
import { root } from "./root.js";
import { at, body, fail, phase, preview, show, toast } from "./screen.js";
import { RequestError, call, withRetries, newKey, upload } from "./server.js";
import { translate } from "./texts.js";

const MEGABYTE = 1_000_000;

let current = { stopped: false, id: null }; // only the newest search updates the page

function begin() {
  current.stopped = true;
  current = { stopped: false, id: null };
  toast("");
  return current;
}

// Shows what the search waits for: in the progress view, or as a toast over a result.
function waiting(text) {
  if (body.dataset.state === "busy") phase(text || translate("searching"));
  else toast(text);
}

// Searches with one photo, or with several of the same item.
export async function search(files) {
  if (!files.length) return;
  const mine = begin();
  const form = at("ask");
  show("busy");
  preview(URL.createObjectURL(files[0]));
  phase(translate("preparing"));
  try {
    files.forEach(refuse);
    const photos = [];
    for (const file of files) photos.push(await shrink(file, Number(form.dataset.sidePx))); // one at a time, to limit memory
    for (const photo of photos) refuseLarge(photo, Number(form.dataset.maxBytes));
    const fields = new FormData(form);
    fields.delete("image");
    for (const photo of photos) fields.append("image", photo, "photo");
    const key = newKey();
    const notify = (share) => !mine.stopped && (share < 1 ? phase(translate("sending"), share) : phase(translate("searching")));
    notify(0);
    const task = await withRetries(() => upload(fields, key, notify), waiting, () => mine.stopped);
    mine.id = task.id;
    remember(task.id, photos);
    await follow(`${root}/s/${task.id}`, mine);
  } catch (error) {
    if (!mine.stopped) fail(error, () => search(files));
  }
}

// Refuses files that cannot be searched before they are uploaded.
function refuse(file) {
  if (file.size === 0) throw new RequestError(translate("empty_file"), 422);
  if (file.type && !file.type.startsWith("image/")) throw new RequestError(translate("not_a_picture"), 415);
}

function refuseLarge(photo, maxBytes) {
  if (photo.size <= maxBytes) return;
  const [size, max] = [photo.size, maxBytes].map((bytes) => Math.ceil(bytes / MEGABYTE));
  throw new RequestError(translate("too_big", { size, max }), 413);
}

// Waits for the result at this address, then shows it.
async function follow(address, mine, push = true) {
  const url = new URL(address, location.origin);
  const html = await waitForResult(url, waiting, () => mine.stopped);
  if (html === null) return;
  if (push && url.href !== location.href) history.pushState({}, "", url);
  show("done");
  place(html);
  document.title = `${translate("result_title")} · ${translate("brand")}`;
}

// Opens an earlier search. If it has expired, it is repeated with `photos`.
export async function open(address, { push = true, photos = null } = {}) {
  const mine = begin();
  if (body.dataset.state === "done") at("groups")?.setAttribute("aria-busy", "true");
  else {
    show("busy");
    if (photos) preview(URL.createObjectURL(photos[0]));
    phase(translate("searching"));
  }
  try {
    await follow(address, mine, push);
    if (push) window.scrollTo(0, 0);
  } catch (error) {
    if (mine.stopped) return;
    if (photos && [404, 410].includes(error.status)) await search(photos);
    else fail(error, () => open(address, { push, photos }));
  }
}

// Runs the search of a form in the result and replaces the result.
export async function ask(fields, picture = "") {
  const mine = begin();
  if (picture) {
    show("busy");
    preview(picture);
    phase(translate("searching"));
  } else at("groups").setAttribute("aria-busy", "true");
  try {
    const { id, url } = await send(fields, waiting, () => mine.stopped);
    mine.id = id;
    await follow(url, mine);
    if (picture) window.scrollTo(0, 0);
  } catch (error) {
    if (mine.stopped) return;
    at("groups")?.removeAttribute("aria-busy");
    if (picture) fail(error, () => ask(fields, picture));
    else toast(error.message);
  }
}

// Searches with the picture at an address, which the server fetches.
export async function searchAddress(form) {
  const mine = begin();
  const fields = new FormData(form);
  fields.set("catalogue", at("catalogue").value);
  show("busy");
  at("preview").hidden = true;
  phase(translate("fetching"));
  try {
    const { id, url } = await send(fields, waiting, () => mine.stopped);
    mine.id = id;
    await follow(url, mine);
  } catch (error) {
    if (!mine.stopped) fail(error, () => searchAddress(form));
  }
}

// Shows more of the same result, at the same place of the page and of the history.
export async function more(address) {
  const mine = begin();
  const count = countCards();
  try {
    const url = new URL(address, location.origin);
    const html = await waitForResult(url, toast, () => mine.stopped);
    if (html === null) return;
    history.replaceState({}, "", url);
    place(html);
    focusAfter(count);
  } catch (error) {
    if (!mine.stopped) toast(error.message);
  }
}

export function cancel() {
  const { id } = current;
  begin();
  if (id) call(`${root}/v1/tasks/${id}`, { method: "DELETE" }).catch(() => { /* the search then ends without a reader */ });
  history.replaceState({}, "", `${root}/`);
  show("empty");
}

onFrame((fields) => ask(fields));
