// <vitrine-similar product-id="chair-1" hits="8">: a strip of similar products for product pages.
import { similar } from "./api.js";
import { emit, make } from "./dom.js";
import { cards } from "./hits.js";
import { openShadow } from "./style.js";
import { direction, language, loadTexts, text } from "./texts.js";

export class VitrineSimilar extends HTMLElement {
  #shown = null;
  static observedAttributes = ["product-id"];

  connectedCallback() {
    this.load();
  }

  attributeChangedCallback() {
    if (this.isConnected) this.load();
  }

  // Without hits, or with an error, the strip stays empty: a product page is no place for an excuse.
  async load() {
    const root = this.shadowRoot || openShadow(this);
    const id = this.getAttribute("product-id");
    if (!id || id === this.#shown) return; // a page's script may set it later
    this.#shown = id;
    try {
      await loadTexts();
      const { whole, query_id: query } = await similar(id, Number(this.getAttribute("hits")) || 8);
      if (id !== this.getAttribute("product-id")) return;
      const list = make("ul", {}, ...cards(whole.hits, this, query));
      const title = make("h2", { id: "name" }, text("similar"));
      const strip = make("section", { className: "strip", lang: language(), dir: direction(), "aria-labelledby": "name" }, title, list);
      root.replaceChildren(...(whole.hits.length ? [strip] : []));
      emit(this, "hits", { query_id: query, product_id: id, hits: whole.hits });
    } catch (error) {
      root.replaceChildren();
      emit(this, "error", { code: error.code || "internal", message: error.message });
    }
  }
}
