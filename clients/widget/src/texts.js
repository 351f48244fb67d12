// Texts in the page's language. English is built in; other languages come as small JSON from the server.
import { config, warn } from "./config.js";

const english = {
  button: "Find products by photo.", drop: "Drop or paste a photo here", take: "Take a photo", choose: "Choose a photo",
  preparing: "Preparing the photo", searching: "Searching for products", close: "Close", retry: "Try again",
  another: "Try another photo", similar: "Similar products", more: "Show more",
  category: "Category", all: "All", price: "Price in %(currency)s", from: "from", to: "to", apply: "Apply", photo: "Your photo",
  object: "Object %(number)s", tap: "Tap an object to see similar products.",
  no_filtered: "No matches with these filters.", none: "No similar products found. Try a closer photo of the product alone.",
  found: "Search complete: %(num)s products found.",
  unreachable: "The server cannot be reached. Check your connection and try again.",
  internal: "Something went wrong. Try again in a moment.", too_long: "This is taking too long. Try again later.",
  not_a_picture: "This file is not a picture. Use a JPEG, PNG, WebP, AVIF or HEIC photo.",
  empty_file: "This file is empty. Choose another photo.",
  errors: {
    unsupported_format: "This file type is not supported. Use a JPEG, PNG, WebP, AVIF or HEIC photo.",
    undecodable_image: "This picture is damaged and cannot be opened. Choose another photo.",
    image_too_large: "This picture is too large. Use a smaller one.",
    body_too_large: "This file is too large for the server. Send a smaller one.",
    overloaded: "Too many searches are waiting. Try again in a moment.",
    expired: "Searches are only kept for a while. Search again with your photo.",
  },
};
let texts = english;
let loading;

export const language = () => texts.language || "en";
export const direction = () => texts.direction || "ltr";

// Loads the language once; without it the texts stay English.
export function loadTexts() {
  if (/^en\b/i.test(config.language)) return Promise.resolve();
  loading ??= fetch(`${config.server}widget/texts/${encodeURIComponent(config.language)}.json`, { credentials: "omit" })
    .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(String(answer.status)))))
    .then((found) => { texts = { ...english, ...found }; })
    .catch((error) => warn(`The texts in ${config.language} could not be loaded (${error.message}); they are English.`));
  return loading;
}

export function text(name, values = {}) {
  return texts[name].replace(/%\((\w+)\)s/g, (_, key) => values[key]);
}

export function errorText(code) {
  return texts.errors[code] || english.errors[code] || texts.internal;
}

export function price(hit) {
  if (hit.price === null) return "";
  if (!hit.currency) return String(hit.price);
  const amount = new Intl.NumberFormat(language(), { style: "currency", currency: hit.currency }).format(hit.price);
  return hit.price_original ? `≈ ${amount}` : amount;
}
