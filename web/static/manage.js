// Enhances the owner's pages, which work without it: live progress, upload progress, dropped files, and times
// in the reader's time zone. All texts come with the page.
"use strict";

const MIN_REFRESH_INTERVAL_MS = 1000;
const POLL_INTERVAL_MS = 3000;
const lastHtml = new Map(); // the last HTML of each live part by id

function liveParts(root) {
  return [...root.querySelectorAll("[data-live]")];
}

// The page's language with the territory that the browser prefers for it.
const { lang } = document.documentElement;
const locale = navigator.languages.find((each) => each.split("-")[0] === lang.split("-")[0]) || lang;

function localTimes(root) {
  const form = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
  for (const time of root.querySelectorAll("time[datetime]")) time.textContent = form.format(new Date(time.dateTime));
}

function findSame(root, held) {
  const sign = (each) => each.href || each.id || each.textContent;
  return [...root.querySelectorAll("a, button, summary, input, select")].find((each) => sign(each) === sign(held));
}

function replace(part, fresh) {
  if (lastHtml.get(part.id) === fresh.innerHTML) return;
  lastHtml.set(part.id, fresh.innerHTML);
  const held = part.contains(document.activeElement) ? document.activeElement : null;
  const open = [...part.querySelectorAll("details[open] > summary")].map((each) => each.textContent);
  part.replaceChildren(...fresh.childNodes);
  for (const each of part.querySelectorAll("details > summary")) {
    if (open.includes(each.textContent)) each.parentElement.open = true;
  }
  localTimes(part);
  if (!held) return;
  const target = findSame(part, held) || part;
  if (target === part) part.tabIndex = -1;
  target.focus({ preventScroll: true });
}

function show(id, on) {
  const thing = document.getElementById(id);
  if (thing) thing.hidden = !on;
}

// Refreshes the live parts; returns the body of the new page, or null if the server cannot be reached.
async function refresh() {
  let answer;
  try {
    answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  } catch {
    show("lost", true);
    return null;
  }
  if (answer.status === 401) location.reload(); // the session has ended; the sign-in page leads back here
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

function refreshEvery(milliseconds) {
  const timer = setInterval(async () => {
    if (document.hidden) return;
    const body = await refresh();
    if (body && !body.dataset.every && !body.dataset.events) clearInterval(timer);
  }, milliseconds);
}

function follow(address) {
  const stream = new EventSource(address);
  let isScheduled = false;
  const scheduleRefresh = () => {
    if (isScheduled) return;
    isScheduled = true;
    setTimeout(async () => {
      isScheduled = false;
      const body = await refresh();
      if (body && !body.dataset.events) stream.close();
    }, MIN_REFRESH_INTERVAL_MS);
  };
  stream.addEventListener("state", scheduleRefresh);
  stream.addEventListener("progress", scheduleRefresh);
  stream.onerror = () => {
    if (stream.readyState === EventSource.CLOSED) refreshEvery(POLL_INTERVAL_MS);
    else scheduleRefresh();
  };
}

function showError(text) {
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
    showError(text);
  };
  call.onerror = () => showError(form.dataset.lost);
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
else if (document.body.dataset.every) refreshEvery(Number(document.body.dataset.every));
