// A result in the page: the server drew it; here it is put in place, its groups chosen, its frame moved.
import { Frame } from "./frame.js";
import { watchPictures } from "./pictures.js";
import { announce, at } from "./screen.js";
import { offerShare } from "./share.js";

let frame = null;
let reframe = () => {};

// `changed` is called with the fields of a search when the reader has drawn another frame.
export function onFrame(changed) {
  reframe = changed;
}

export function parsed(html) {
  const template = document.createElement("template");
  template.innerHTML = html; // our own server's templates, which escape every value
  return template.content;
}

function photoOf(root) {
  return root.querySelector(".photo svg image")?.getAttribute("href");
}

// Puts the answer there. What stays the same (the photo, its frame, who has the focus) stays in place.
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
  dress(chosen);
}

export function dress(wanted) {
  const result = at("result");
  const side = result.querySelector(".side");
  if (side && !frame && side.querySelector(".photo svg")) frame = new Frame(side, reframed);
  watchPictures(result);
  offerShare(result);
  const groups = [...result.querySelectorAll(".group")].map(({ id }) => id);
  const hash = location.hash.slice(1);
  if (groups.length) choose([hash, wanted].find((id) => groups.includes(id)) || groups[0]);
  const told = result.querySelector("[data-announce]");
  if (told) announce(told.dataset.announce);
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
  const wishes = result.querySelector("form.wishes");
  const fields = wishes ? new FormData(wishes) : new FormData();
  for (const [name, value] of Object.entries({ query_id: root, of: root, catalogue, locale, box: box.join() })) {
    fields.set(name, value);
  }
  reframe(fields);
}

// More of a group: the cards come after those that are there, and the first of them gets the focus.
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
