// Shows a result that the server rendered: inserts it, switches groups, moves the frame.
import { Frame } from "./frame.js";
import { watchPictures } from "./pictures.js";
import { announce, at } from "./screen.js";
import { offerShare } from "./share.js";

let frame = null;
let reframe = () => {};

// `changed` is called with the fields of a search after the frame was changed.
export function onFrame(changed) {
  reframe = changed;
}

export function parsed(html) {
  const template = document.createElement("template");
  template.innerHTML = html; // rendered by the server, whose templates escape all values
  return template.content;
}

function photoOf(root) {
  return root.querySelector(".photo svg image")?.getAttribute("href");
}

// Shows a result. An unchanged photo keeps its element, frame and focus.
export function place(html) {
  const fresh = parsed(html);
  const result = at("result");
  const same = photoOf(fresh) && photoOf(fresh) === photoOf(result);
  const chosen = result.querySelector(".tab[aria-current]")?.dataset.group;
  if (same) {
    const pressed = openFilter();
    for (const part of [".marks", ".side-note", ".groups"]) {
      result.querySelector(part).replaceWith(fresh.querySelector(part));
    }
    result.querySelector(".found").dataset.root = fresh.querySelector(".found")?.dataset.root;
    activate(chosen);
    reopen(pressed);
  } else {
    frame = null;
    result.replaceChildren(fresh);
    activate(chosen);
  }
}

// Returns the field in use of the open filters, null if they are closed.
function openFilter() {
  const open = at("result").querySelector(".filters[open]");
  const { name, value } = open?.contains(document.activeElement) ? document.activeElement : {};
  return open && { name, value };
}

// Opens the filters of the shown group again after a choice in them, with the focus where it was.
function reopen(pressed) {
  const filters = pressed && at("result").querySelector(".group:not([hidden]) .filters");
  if (!filters) return;
  filters.open = true;
  const fields = [...filters.querySelectorAll("input, button")].filter(({ name }) => name && name === pressed.name);
  (fields.find(({ value }) => value === pressed.value) || fields[0])?.focus({ preventScroll: true });
}

export function activate(wanted) {
  const result = at("result");
  const side = result.querySelector(".side");
  if (side && !frame && side.querySelector(".photo svg")) frame = new Frame(side, reframed);
  watchPictures(result);
  offerShare(result);
  const groups = [...result.querySelectorAll(".group")].map(({ id }) => id);
  const hash = location.hash.slice(1);
  if (groups.length) choose([hash, wanted].find((id) => groups.includes(id)) || groups[0]);
  const announced = result.querySelector("[data-announce]");
  if (announced) announce(announced.dataset.announce);
}

export function choose(id) {
  const result = at("result");
  for (const group of result.querySelectorAll(".group")) group.hidden = group.id !== id;
  for (const link of result.querySelectorAll(".tab, .box")) {
    if (link.dataset.group === id) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  frame?.set(at(id).dataset.box?.split(",").map(Number));
  const tab = result.querySelector(`.tab[data-group="${id}"]`);
  const tabs = tab?.parentElement;
  if (tabs) tabs.scrollLeft = tab.offsetLeft - (tabs.clientWidth - tab.clientWidth) / 2;
}

function reframed(box) {
  const result = at("result");
  const { root, catalogue, locale } = result.querySelector(".found").dataset;
  const form = result.querySelector(".group:not([hidden]) form.refinements");
  const fields = form ? new FormData(form) : new FormData();
  for (const [name, value] of Object.entries({ query_id: root, of: root, catalogue, locale, box: box.join() })) {
    fields.set(name, value);
  }
  reframe(fields);
}

// Focuses the first card after `count`, which a press of "Show more" added.
export function focusAfter(count) {
  const links = at("result").querySelectorAll(".group:not([hidden]) .hit-link");
  links[count]?.focus({ preventScroll: true });
}

export function countCards() {
  return at("result").querySelectorAll(".group:not([hidden]) .hit").length;
}
