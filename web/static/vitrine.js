// The page's script: takes a photo, sends it, polls, and puts the server's own HTML in place.
// Without it the form still works; nothing here draws a result by itself.
"use strict";

const body = document.body;
const at = (id) => document.getElementById(id);
const KEY = "vitrine-key";
const FIRST_WAIT_MS = 150;
const LONGEST_WAIT_MS = 2000;
const GIVE_UP_MS = 120_000;
let current = null; // the search under way: {id, stopped}

body.classList.replace("no-js", "js");

class Trouble extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

// --- talking to the server ---------------------------------------------------------------------

function headers(extra = {}) {
  const key = sessionStorage.getItem(KEY);
  return key ? { ...extra, Authorization: `Bearer ${key}` } : extra;
}

async function call(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: headers({ Accept: "application/json", ...options.headers }) });
  } catch {
    throw new Trouble("The server cannot be reached. Check the connection and try again.", 0);
  }
  if (answer.ok) return answer;
  throw await asTrouble(answer.status, await answer.text());
}

async function asTrouble(status, text) {
  let message = "Something went wrong. Try again in a moment.";
  try {
    message = JSON.parse(text).error.message;
  } catch { /* not ours: a proxy's page, perhaps */ }
  return new Trouble(message, status);
}

function upload(form, tell) {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/v1/searches");
    for (const [name, value] of Object.entries(headers({ Accept: "application/json" }))) {
      request.setRequestHeader(name, value);
    }
    request.upload.onprogress = (event) => event.lengthComputable && tell(event.loaded / event.total);
    request.onerror = () => fail(new Trouble("The server cannot be reached. Check the connection and try again.", 0));
    request.onload = async () => {
      if (request.status < 300) done(JSON.parse(request.responseText));
      else fail(await asTrouble(request.status, request.responseText));
    };
    request.send(form);
  });
}

// --- states ------------------------------------------------------------------------------------

function show(state) {
  body.dataset.state = state;
  at("trouble").hidden = state !== "error";
  if (state !== "done") at("result").replaceChildren();
  if (state !== "locked") at("unlock").hidden = true;
}

function phase(words, share) {
  at("phase").textContent = words;
  at("announce").textContent = words;
  if (share === undefined) at("progress").removeAttribute("value");
  else at("progress").value = share;
}

function fail(trouble, retry) {
  if (trouble.status === 401) return unlock(retry);
  show("error");
  at("trouble-text").textContent = trouble.message;
  if (trouble.status === 429) at("trouble-title").textContent = "Many people are searching";
  else if (trouble.status === 410) at("trouble-title").textContent = "This search has expired";
  else if (trouble.status === 404) at("trouble-title").textContent = "There is nothing here";
  else at("trouble-title").textContent = "That did not work";
}

function unlock(retry) {
  const wrong = sessionStorage.getItem(KEY) !== null;
  show("locked");
  body.dataset.state = "error";
  at("trouble").hidden = true;
  at("unlock").hidden = false;
  if (wrong) at("unlock-why").textContent = "That key was not accepted. Check it and try again.";
  at("key").focus();
  at("unlock").onsubmit = (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, at("key").value.trim());
    at("key").value = "";
    at("unlock").hidden = true;
    retry();
  };
}

// --- a search ----------------------------------------------------------------------------------

async function search(file) {
  if (!file) return;
  if (file.type && !file.type.startsWith("image/")) {
    return fail(new Trouble("That is not a picture. Send a JPEG, PNG, WebP, AVIF or HEIC photo.", 415));
  }
  show("busy");
  preview(file);
  phase("Preparing the photo");
  try {
    const photo = await shrink(file);
    const form = new FormData(at("ask"));
    form.set("image", photo, "photo");
    phase("Sending the photo", 0);
    const task = await upload(form, (share) => (share < 1 ? phase("Sending the photo", share) : phase("Looking for products")));
    await follow(task.id);
  } catch (trouble) {
    fail(trouble, () => search(file));
  }
}

function preview(file) {
  const image = at("preview");
  image.onload = () => { image.hidden = false; };
  image.onerror = () => { image.hidden = true; }; // HEIC, where the browser cannot show it
  image.src = URL.createObjectURL(file);
}

async function follow(id) {
  const mine = { id, stopped: false };
  current = mine;
  show("busy");
  phase("Looking for products");
  const started = Date.now();
  for (let wait = FIRST_WAIT_MS; !mine.stopped; wait = Math.min(wait * 1.4, LONGEST_WAIT_MS)) {
    const task = await (await call(`/v1/tasks/${id}`)).json();
    if (task.state !== "queued" && task.state !== "running") return reveal(id);
    if (task.state === "queued" && Date.now() - started > 4000) phase("Waiting for its turn");
    if (Date.now() - started > GIVE_UP_MS) throw new Trouble("This takes too long. Try again later.", 503);
    await new Promise((done) => setTimeout(done, wait));
  }
}

async function reveal(id) {
  const part = await (await call(`/s/${id}/part`, { headers: { Accept: "text/html" } })).text();
  if (location.pathname !== `/s/${id}`) history.pushState({}, "", `/s/${id}`);
  show("done");
  at("result").innerHTML = part; // our own server's template, which escapes every value
  document.title = "Search result · Vitrine";
  dress();
  const count = at("result").querySelectorAll(".hit").length;
  at("announce").textContent = `Done: ${count} products found.`;
  window.scrollTo(0, 0);
}

at("cancel").addEventListener("click", async () => {
  if (current) {
    current.stopped = true;
    call(`/v1/tasks/${current.id}`, { method: "DELETE" }).catch(() => {});
  }
  location.assign("/");
});

// --- a result ----------------------------------------------------------------------------------

function dress() {
  const result = at("result");
  for (const price of result.querySelectorAll("data.price[data-currency]")) {
    try {
      price.textContent = new Intl.NumberFormat(navigator.languages, {
        style: "currency", currency: price.dataset.currency,
      }).format(Number(price.value));
    } catch { /* an unknown currency keeps its plain form */ }
  }
  unlockPictures(result);
  const groups = [...result.querySelectorAll(".group")];
  if (groups.length > 1) {
    const wanted = groups.find((group) => `#${group.id}` === location.hash) || groups[0];
    choose(wanted.id);
  }
  const share = result.querySelector(".share");
  if (share && (navigator.share || navigator.clipboard)) {
    share.hidden = false;
    share.textContent = navigator.share ? "Share" : "Copy link";
  }
}

function choose(id) {
  const result = at("result");
  for (const group of result.querySelectorAll(".group")) group.hidden = group.id !== id;
  for (const link of result.querySelectorAll("[data-group]")) {
    if (link.dataset.group === id) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

at("result").addEventListener("click", (event) => {
  const link = event.target.closest("[data-group]");
  if (link) {
    event.preventDefault();
    choose(link.dataset.group);
    history.replaceState({}, "", `#${link.dataset.group}`);
    if (link.classList.contains("box")) at(link.dataset.group).focus({ preventScroll: true });
    const tab = at("result").querySelector(`.tab[data-group="${link.dataset.group}"]`);
    if (tab) tab.scrollIntoView({ block: "nearest", inline: "center" });
    return;
  }
  const share = event.target.closest(".share");
  if (!share) return;
  if (navigator.share) navigator.share({ title: document.title, url: location.href }).catch(() => {});
  else navigator.clipboard.writeText(location.href).then(() => { share.textContent = "Copied"; });
});

// With a key set, pictures need it too, and an <img> cannot send it.
async function unlockPictures(root) {
  const loaded = new Map();
  for (const picture of root.querySelectorAll("[data-src]")) {
    const url = picture.dataset.src;
    if (!loaded.has(url)) {
      loaded.set(url, call(url).then((answer) => answer.blob()).then((blob) => URL.createObjectURL(blob)));
    }
    loaded.get(url)
      .then((address) => picture.setAttribute(picture instanceof SVGElement ? "href" : "src", address))
      .catch(() => {});
  }
}

// --- ways in -----------------------------------------------------------------------------------

for (const id of ["image", "camera"]) {
  at(id)?.addEventListener("change", (event) => search(event.target.files[0]));
}
document.addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files || [])].find((each) => each.type.startsWith("image/"));
  if (file && at("image")) search(file);
});
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    body.classList.add("dragging");
  });
}
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  body.classList.remove("dragging");
  if (at("image")) search(event.dataTransfer.files[0]);
});
window.addEventListener("popstate", () => { if (!location.hash) location.reload(); });

// A page with a key cannot list the catalogues when it is drawn.
async function fillCatalogues() {
  const found = await (await call("/v1/catalogues")).json();
  const select = at("catalogue");
  select.replaceChildren(...found.map((each) => new Option(each.name)));
  select.closest(".where").hidden = found.length < 2;
}

function start() {
  const id = body.dataset.search;
  if (body.dataset.keyed && !id) {
    fillCatalogues().then(() => show("empty")).catch((trouble) => fail(trouble, start));
  } else if (body.dataset.state === "busy") {
    follow(id).catch((trouble) => fail(trouble, start));
  } else if (body.dataset.state === "done") {
    dress();
  }
}
start();
