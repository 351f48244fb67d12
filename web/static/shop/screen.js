// Which of the page's states is seen, and what it says.
import { say } from "./words.js";

export const body = document.body;
export const at = (id) => document.getElementById(id);

const TITLES = { 404: "missing", 410: "expired", 429: "many" };

body.classList.replace("no-js", "js");

export function show(state) {
  body.dataset.state = state;
  at("trouble").hidden = state !== "error";
  if (state === "busy" || state === "empty") at("result").replaceChildren();
  if (state === "empty") document.title = say("start_title");
}

export function announce(text) {
  at("announce").textContent = text;
}

// A word beside a result that stays.
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

export function fail(trouble, retry) {
  show("error");
  at("trouble-title").textContent = say(TITLES[trouble.status] || "failed");
  at("trouble-text").textContent = trouble.message;
  at("retry").hidden = !retry || !(trouble.passing ?? false);
  at("retry").onclick = retry;
}

// Shows what is searched with, by its address, while the answer is waited for.
export function preview(address) {
  const image = at("preview");
  URL.revokeObjectURL(image.src);
  image.onload = () => { image.hidden = false; };
  image.onerror = () => { image.hidden = true; }; // HEIC, where the browser cannot show it
  image.src = address;
}
