// What a reader does with a hit, told to the shop where its operator allows it; never who it was.
import { announce } from "./screen.js";
import { say } from "./words.js";

export function tell(hit, kind) {
  const { query, product, object } = hit.dataset;
  if (!query) return;
  const said = { query_id: query, product_id: product, kind, object: object ? Number(object) : null };
  fetch("/v1/feedback", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(said),
    keepalive: true, // the reader goes on to the product
  }).catch(() => { /* a search is worth more than its statistics */ });
}

// Leaves the hit out of what is seen; the next one gets the focus.
export function dismiss(hit) {
  tell(hit, "not_this");
  const next = hit.nextElementSibling || hit.previousElementSibling;
  hit.remove();
  next?.querySelector("a").focus({ preventScroll: true });
  announce(say("dismissed"));
}
