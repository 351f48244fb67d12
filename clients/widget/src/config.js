// What the script tag says: <script src="https://HOST/widget/vitrine.js" data-key="vt_…" data-catalogue="shop" defer>.
const tag = document.currentScript;
const data = tag?.dataset ?? {};

export const config = {
  // Address of the server with the path of its proxy, ending in a slash.
  server: tag ? tag.src.replace(/widget\/.*$/, "") : new URL("/", location.href).href,
  key: data.key || "",
  catalogue: data.catalogue || "",
  attach: data.attach || "",
  language: data.language || document.documentElement.lang || navigator.language || "en",
  currency: data.currency || undefined,
  topK: Number(data.hits) || 20,
};

// For the shop's developer; shoppers get a sentence in the overlay.
export function warn(message) {
  console.warn(`[vitrine] ${message}`);
}
