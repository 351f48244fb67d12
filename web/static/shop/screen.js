// Switches the page's states and shows their texts.
import { translate } from "./texts.js";

export const body = document.body;
export const at = (id) => document.getElementById(id);

const TITLES = { 404: "missing", 410: "expired", 429: "many" };

body.classList.replace("no-js", "js");

export function show(state) {
  body.dataset.state = state;
  at("trouble").hidden = state !== "error";
  if (state === "busy" || state === "empty") at("result").replaceChildren();
  if (state === "empty") document.title = translate("start_title");
}

export function announce(text) {
  at("announce").textContent = text;
}

// Shows a short text over a result.
export function toast(text) {
  at("toast").textContent = text;
  at("toast").hidden = !text;
}

export function phase(text, share) {
  if (at("phase").textContent !== text) announce(text);
  at("phase").textContent = text;
  if (share === undefined) at("progress").removeAttribute("value");
  else at("progress").value = share;
}

export function fail(error, retry) {
  show("error");
  at("trouble-title").textContent = translate(TITLES[error.status] || "failed");
  at("trouble-text").textContent = error.message;
  at("retry").hidden = !retry || !(error.retryable ?? false);
  at("retry").onclick = retry;
}

// Shows the searched photo by its address while the search runs.
export function preview(address) {
  const image = at("preview");
  URL.revokeObjectURL(image.src);
  image.onload = () => { image.hidden = false; };
  image.onerror = () => { image.hidden = true; }; // HEIC, where the browser cannot show it
  image.src = address;
}
