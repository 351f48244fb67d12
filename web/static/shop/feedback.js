// Reports what a shopper does with a hit, if the operator allows it; never who the shopper is.
import { root } from "./root.js";
import { announce } from "./screen.js";
import { translate } from "./texts.js";

export function report(hit, kind) {
  const { query, product, object } = hit.dataset;
  if (!query) return;
  const feedback = { query_id: query, product_id: product, kind, object: object ? Number(object) : null };
  fetch(`${root}/v1/feedback`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(feedback),
    keepalive: true, // the page may change to the product page
  }).catch(() => { /* feedback is optional */ });
}

// Removes the hit from the result and focuses the next one.
export function dismiss(hit) {
  report(hit, "not_this");
  const next = hit.nextElementSibling || hit.previousElementSibling;
  hit.remove();
  next?.querySelector("a").focus({ preventScroll: true });
  announce(translate("dismissed"));
}
