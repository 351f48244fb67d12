// The owner's pages work without this; it makes them live: progress as it comes, uploads with a bar, files
// that are dropped, moments in the reader's own zone. All words come with the page.
"use strict";

const AT_MOST_EVERY_MS = 1000;
const WHEN_STREAMS_ARE_FULL_MS = 3000;
const said = new Map(); // what the server last said each live part is

function liveParts(root) {
  return [...root.querySelectorAll("[data-live]")];
}

function localTimes(root) {
  const form = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
  for (const time of root.querySelectorAll("time[datetime]")) time.textContent = form.format(new Date(time.dateTime));
}

function sameThing(root, held) {
  const sign = (each) => each.href || each.id || each.textContent;
  return [...root.querySelectorAll("a, button, summary, input, select")].find((each) => sign(each) === sign(held));
}

function replace(part, fresh) {
  if (said.get(part.id) === fresh.innerHTML) return;
  said.set(part.id, fresh.innerHTML);
  const held = part.contains(document.activeElement) ? document.activeElement : null;
  const open = [...part.querySelectorAll("details[open] > summary")].map((each) => each.textContent);
  part.replaceChildren(...fresh.childNodes);
  for (const each of part.querySelectorAll("details > summary")) {
    if (open.includes(each.textContent)) each.parentElement.open = true;
  }
  localTimes(part);
  if (!held) return;
  const again = sameThing(part, held) || part;
  if (again === part) part.tabIndex = -1;
  again.focus({ preventScroll: true });
}

function show(id, on) {
  const thing = document.getElementById(id);
  if (thing) thing.hidden = !on;
}

// Returns the body of the page as it now is, or null when the server cannot be reached.
async function renew() {
  let answer;
  try {
    answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  } catch {
    show("lost", true);
    return null;
  }
  if (answer.status === 401) location.reload(); // the session ended: the page that says so leads back here
  show("lost", answer.status >= 500);
  if (!answer.ok) return null;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of liveParts(document)) {
    const fresh = page.getElementById(part.id);
    if (fresh) replace(part, fresh);
  }
  document.title = page.title;
  return page.body;
}

function every(milliseconds) {
  const timer = setInterval(async () => {
    if (document.hidden) return;
    const body = await renew();
    if (body && !body.dataset.every && !body.dataset.events) clearInterval(timer);
  }, milliseconds);
}

function follow(address) {
  const stream = new EventSource(address);
  let waits = false;
  const news = () => {
    if (waits) return;
    waits = true;
    setTimeout(async () => {
      waits = false;
      const body = await renew();
      if (body && !body.dataset.events) stream.close();
    }, AT_MOST_EVERY_MS);
  };
  stream.addEventListener("state", news);
  stream.addEventListener("progress", news);
  stream.onerror = () => {
    if (stream.readyState === EventSource.CLOSED) every(WHEN_STREAMS_ARE_FULL_MS);
    else news();
  };
}

function complain(text) {
  show("sending", false);
  const wrong = document.getElementById("wrong");
  wrong.textContent = text;
  wrong.hidden = false;
  wrong.scrollIntoView({ block: "center" });
}

function send(form, submitter) {
  const body = new FormData(form);
  if (submitter?.name) body.append(submitter.name, submitter.value);
  const call = new XMLHttpRequest();
  const sent = document.getElementById("sent");
  call.open("POST", form.action);
  call.setRequestHeader("Accept", "text/html");
  call.upload.onprogress = (event) => { if (event.lengthComputable) sent.value = event.loaded / event.total; };
  call.onload = () => {
    if (call.status < 400) { location.assign(call.responseURL); return; }
    const page = new DOMParser().parseFromString(call.responseText, "text/html");
    const text = page.getElementById("wrong")?.textContent || page.querySelector("main p")?.textContent || "";
    complain(text);
  };
  call.onerror = () => complain(form.dataset.lost);
  show("wrong", false);
  show("sending", true);
  call.send(body);
}

function takeDrops(form) {
  const place = document.getElementById("dropper");
  const input = place.querySelector("input[type=file]");
  const over = (on) => place.classList.toggle("over", on);
  form.addEventListener("dragover", (event) => { event.preventDefault(); over(true); });
  form.addEventListener("dragleave", () => over(false));
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    if (event.dataTransfer.files.length) input.files = event.dataTransfer.files;
  });
  form.addEventListener("submit", (event) => {
    if (!input.files.length) return;
    event.preventDefault();
    send(form, event.submitter);
  });
}

localTimes(document);
const upload = document.querySelector("form[data-upload]");
if (upload) takeDrops(upload);
if (document.body.dataset.events) follow(document.body.dataset.events);
else if (document.body.dataset.every) every(Number(document.body.dataset.every));
