// The widget: a camera button at the shop's search bar, an overlay, and strips of similar products.
import { config, warn } from "./config.js";
import { VitrineSearch } from "./overlay.js";
import { VitrineSimilar } from "./similar.js";

function start() {
  if (!config.key) warn("data-key is missing: searches work only if this page is Vitrine's own.");
  if (!config.attach) return;
  const bar = document.querySelector(config.attach);
  if (bar) bar.insertAdjacentElement("afterend", document.createElement("vitrine-search"));
  else warn(`data-attach: no element of this page matches ${config.attach}.`);
}

if (customElements.get("vitrine-search")) warn("The script is in this page twice; the first one counts.");
else {
  customElements.define("vitrine-search", VitrineSearch);
  customElements.define("vitrine-similar", VitrineSimilar);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
}
