// The search page, from the photo inputs to the result. Without scripts, its forms and links do the same.
import { ask, cancel, more, open, search, searchAddress } from "./flow.js";
import { install } from "./install.js";
import { showHistory } from "./history.js";
import { watchPictures } from "./pictures.js";
import { choose, activate } from "./result.js";
import { root } from "./root.js";
import { at, body, show } from "./screen.js";
import { dismiss, report } from "./feedback.js";
import { openInputs } from "./inputs.js";

const result = at("result");

function plain(event) {
  return event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
}

result.addEventListener("click", (event) => {
  const unwanted = event.target.closest(".dismiss");
  if (unwanted) dismiss(unwanted.closest(".hit"));
  const link = event.target.closest("a");
  if (link?.matches(".hit-link")) report(link.parentElement, "click");
  if (!link || !plain(event)) return;
  const { group } = link.dataset;
  const href = link.getAttribute("href");
  if (group) {
    event.preventDefault();
    choose(group);
    history.replaceState({}, "", `#${group}`);
    if (link.classList.contains("box")) at(group).focus({ preventScroll: true });
  } else if (link.matches(".stay")) {
    event.preventDefault();
    more(href);
  } else if (href.startsWith(`${root}/s/`)) {
    event.preventDefault();
    open(href);
  }
});

result.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.matches(".own")) return;
  event.preventDefault();
  if (form.matches(".more")) ask(new FormData(form)).then(() => window.scrollTo(0, 0));
  else if (form.method === "get") open(`${form.getAttribute("action")}?${new URLSearchParams(new FormData(form))}${location.hash}`);
  else if (form.matches(".similar")) ask(new FormData(form), form.parentElement.querySelector("img").currentSrc);
  else refine(form, event.submitter);
});

// Searches with the refinements; moves the focus to the result if the pressed button is gone.
async function refine(form, button) {
  const fields = new FormData(form);
  const done = button?.matches(".filter-foot button");
  if (done) form.closest("details").open = false;
  if (button?.name) fields.set(button.name, button.value);
  await ask(fields);
  if ((!button?.name && !done) || button.isConnected) return;
  const groups = at("groups");
  groups?.focus({ preventScroll: true });
  if (groups?.getBoundingClientRect().top < 0) groups.scrollIntoView();
}

// Categories, sort orders and checkboxes apply immediately.
result.addEventListener("change", (event) => {
  if (event.target.matches("select, [type=radio], [type=checkbox]")) event.target.form.requestSubmit();
});

// Open filters close with Escape, and with a press outside of them.
function closeFilters(event) {
  for (const open of result.querySelectorAll("details.filters[open]")) {
    if (event.type === "keydown" ? event.key !== "Escape" : open.querySelector("form").contains(event.target)) continue;
    if (event.type === "click" && open.querySelector("summary").contains(event.target)) continue;
    open.open = false;
    if (event.type === "keydown") open.querySelector("summary").focus();
  }
}
document.addEventListener("keydown", closeFilters);
document.addEventListener("click", closeFilters);

at("cancel").addEventListener("click", cancel);

window.addEventListener("popstate", () => {
  if (location.hash === "#main") return; // the skip link, not another page
  if (location.pathname.startsWith(`${root}/s/`)) open(location.href, { push: false });
  else show("empty");
});

function start() {
  const { state } = body.dataset;
  watchPictures(document);
  if (state === "busy") open(location.href, { push: false });
  else if (state === "done") activate();
  openInputs(search, searchAddress);
  showHistory((entry) => open(`${root}/s/${entry.id}`, { photos: entry.photos || [entry.photo] }));
  install();
}
start();
