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
    for (const part of [".marks", ".side-note", ".groups"]) {
      result.querySelector(part).replaceWith(fresh.querySelector(part));
    }
    result.querySelector(".found").dataset.root = fresh.querySelector(".found")?.dataset.root;
  } else {
    frame = null;
    result.replaceChildren(fresh);
  }
  activate(chosen);
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
  const form = result.querySelector("form.refinements");
  const fields = form ? new FormData(form) : new FormData();
  for (const [name, value] of Object.entries({ query_id: root, of: root, catalogue, locale, box: box.join() })) {
    fields.set(name, value);
  }
  reframe(fields);
}

// Appends the cards of a further page and focuses the first of them.
export function append(form, html) {
  const fresh = parsed(html);
  const cards = [...fresh.querySelectorAll(".hit")];
  const group = form.closest(".group");
  group.querySelector(".hits").append(...cards);
  const more = fresh.querySelector("form.more");
  if (more) form.replaceWith(more);
  else form.remove();
  cards[0]?.querySelector("a").focus({ preventScroll: true });
}
