// Cards of products; each leads to the shop's own page.
import { pictureUrl } from "./api.js";
import { emit, make } from "./dom.js";
import { price } from "./texts.js";

export function cards(hits, host, query, offset = 0) {
  return hits.map((hit, at) => card(hit, host, query, offset + at + 1));
}

function card(hit, host, query, position) {
  const image = make("img", { alt: "", loading: "lazy", decoding: "async", width: 160, height: 160 });
  image.src = pictureUrl(hit.image_url, 320);
  const content = [
    make("span", { className: "picture" }, image),
    make("span", { className: "title", dir: "auto" }, hit.title || hit.product_id),
    make("span", { className: "price" }, price(hit)),
  ];
  const detail = { product_id: hit.product_id, url: hit.url, position, query_id: query };
  const link = make(hit.url ? "a" : "button", { className: "hit", onclick: () => emit(host, "click", detail) }, ...content);
  if (hit.url) link.href = hit.url;
  else link.type = "button";
  return make("li", {}, link);
}
