// <vitrine-search>: the camera button and the overlay with photo, frames, filters and hits.
import { shrink } from "../../../web/static/shop/photo.js";
import { SearchError, searchAgain, searchPhoto } from "./api.js";
import { config } from "./config.js";
import { CAMERA, CROSS, emit, icon, make } from "./dom.js";
import { photoView, showFrames } from "./frames.js";
import { cards } from "./hits.js";
import { openShadow } from "./style.js";
import { direction, language, loadTexts, text } from "./texts.js";

const SIDE_PX = 1280;

export class VitrineSearch extends HTMLElement {
  #main;
  #live;
  #dialog;
  #search = {};

  async connectedCallback() {
    if (this.shadowRoot) return;
    const root = openShadow(this);
    await loadTexts();
    const open = make("button", { className: "open", type: "button", title: text("button"), "aria-label": text("button"), onclick: () => this.open() }, icon(CAMERA));
    root.append(open, this.#build());
  }

  #build() {
    this.#live = make("div", { className: "live", "aria-live": "polite" });
    this.#main = make("div", { className: "main", tabIndex: -1 });
    const close = make("button", { className: "close", type: "button", "aria-label": text("close"), onclick: () => this.#dialog.close() }, icon(CROSS));
    const header = make("div", { className: "head" }, make("h2", { id: "name" }, text("button").replace(/[.。]$/, "")), close);
    // A modal dialog keeps the focus inside, closes with Escape and returns the focus to the button.
    this.#dialog = make("dialog", { "aria-labelledby": "name", lang: language(), dir: direction(), onclose: () => this.#stop() }, header, this.#main, this.#live);
    this.#dialog.addEventListener("click", (event) => event.target === this.#dialog && this.#dialog.close());
    this.#dialog.addEventListener("paste", (event) => this.#take(event.clipboardData?.files));
    for (const name of ["dragover", "drop", "dragleave"]) this.#dialog.addEventListener(name, (event) => this.#drag(event));
    return this.#dialog;
  }

  // Opens the overlay; the shop's own button may call it: document.querySelector("vitrine-search").open().
  open() {
    this.#showStart();
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#main.querySelector("input")?.focus();
  }

  #stop() {
    this.#search.stop?.abort();
    this.#search = {};
  }

  #drag(event) {
    event.preventDefault();
    this.#main.querySelector(".start")?.classList.toggle("over", event.type === "dragover");
    if (event.type === "drop") this.#take(event.dataTransfer.files);
  }

  #take(files) {
    if (files?.length) this.search(files[0]);
  }

  #showStart() {
    const input = (label, more) => make("label", { className: more.capture ? "button" : "button quiet" }, label,
      make("input", { className: "file", type: "file", accept: "image/*", onchange: (event) => this.#take(event.target.files), ...more }));
    const inputs = [input(text("choose"), {})];
    if (matchMedia("(pointer: coarse)").matches) inputs.unshift(input(text("take"), { capture: "environment" }));
    else inputs[0].className = "button";
    this.#main.replaceChildren(make("div", { className: "start" }, icon(CAMERA), make("p", {}, text("drop")), make("div", { className: "choices" }, ...inputs)));
  }

  #say(message) {
    this.#live.textContent = message;
  }

  #showBusy(message) {
    this.#main.replaceChildren(make("div", { className: "note" }, make("div", { className: "spin" }), make("p", {}, message)));
    this.#say(message);
  }

  // Searches with a photo: a File or Blob. Shops may call it too.
  async search(file) {
    this.#stop();
    const search = { stop: new AbortController(), file, chosen: 0, box: null, category: "", min: "", max: "" };
    this.#search = search;
    if (!this.#dialog.open) this.#dialog.showModal();
    try {
      this.#showBusy(text("preparing"));
      if (!file.size) throw new SearchError(text("empty_file"), "empty_file");
      if (file.type && !file.type.startsWith("image/")) throw new SearchError(text("not_a_picture"), "not_a_picture");
      const photo = await shrink(file, SIDE_PX);
      search.view = await photoView(photo);
      if (search !== this.#search) return;
      this.#showBusy(text("searching"));
      emit(this, "search", { kind: "photo", bytes: photo.size });
      this.#show(search, await searchPhoto(photo, search.stop.signal));
    } catch (error) {
      this.#fail(search, error, () => this.search(file));
    }
  }

  #show(search, result) {
    if (search !== this.#search) return;
    search.query ??= result.query_id;
    search.objects ??= result.objects.filter((each) => !each.doubtful);
    search.result = result;
    const groups = search.box ? result.objects : search.objects.length ? result.objects : [];
    search.group = groups[search.box ? 0 : search.chosen] ?? result.whole;
    const { hits } = search.group;
    search.categories ??= [...new Set(hits.map((hit) => hit.category).filter(Boolean))];
    search.priced ??= hits.find((hit) => hit.price !== null && hit.currency);
    this.#draw(search);
    this.#say(hits.length ? text("found", { num: hits.length }) : text("none"));
    emit(this, "hits", { query_id: result.query_id, hits });
  }

  #draw(search) {
    const { hits } = search.group;
    const filtered = search.category || search.min || search.max;
    const list = make("ul", {}, ...cards(hits, this, search.result.query_id));
    const note = make("p", { className: "note" }, text(filtered ? "no_filtered" : "none"));
    const again = make("button", { className: "button quiet", type: "button", onclick: () => { this.#stop(); this.open(); } }, text("another"));
    const side = make("div", { className: "side" }, search.view, search.view && search.objects.length ? make("p", {}, text("tap")) : null, again);
    const groups = make("div", { className: "groups" }, this.#filters(search), hits.length ? list : note, this.#more(search, list));
    if (search.view) {
      showFrames(search.view, search.objects, {
        chosen: search.chosen, box: search.box,
        onChoose: (chosen) => this.#change(search, { chosen, box: null, categories: undefined, category: "" }),
        onDraw: (box) => this.#change(search, { box, categories: undefined, category: "" }),
      });
    }
    this.#main.replaceChildren(make("div", { className: "result" }, side, groups));
  }

  #filters(search) {
    const filter = (event) => {
      event?.preventDefault();
      const form = new FormData(bar);
      this.#change(search, { category: form.get("category") ?? "", min: form.get("min") ?? "", max: form.get("max") ?? "" });
    };
    const bar = make("form", { className: "bar", onsubmit: filter });
    if (search.categories.length > 1) {
      const names = ["", ...search.categories].map((name) => make("option", { value: name, selected: name === search.category }, name || text("all")));
      bar.append(make("select", { name: "category", "aria-label": text("category"), onchange: () => filter() }, ...names));
    }
    if (search.priced) {
      const field = (name, label) => make("label", {}, text(label), make("input", { name, value: search[name], inputMode: "decimal", autocomplete: "off" }));
      const legend = make("legend", {}, text("price", { currency: search.priced.currency }));
      bar.append(make("fieldset", {}, legend, field("min", "from"), field("max", "to"), make("span", {}, search.priced.currency)), make("button", { className: "button quiet" }, text("apply")));
    }
    return bar.children.length ? bar : null;
  }

  // Prices are entered in the shown currency, and filtered in the shop's own.
  #filterText({ min, max, priced }) {
    const rate = priced?.price_original ? priced.price_original / priced.price : 1;
    const number = (entered) => Number(entered.replace(",", ".")) * rate;
    const parts = [[">=", min], ["<=", max]].filter(([, entered]) => entered && number(entered) >= 0);
    return parts.map(([sign, entered]) => `price ${sign} ${number(entered).toFixed(2)}`).join(" and ");
  }

  async #change(search, change) {
    Object.assign(search, change);
    const { category, box, query } = search;
    const filter = this.#filterText(search);
    const request = { query_id: query, ...(category && { category }), ...(filter && { filter }), ...(box && { box }) };
    search.stop.abort();
    search.stop = new AbortController();
    this.#main.querySelector(".groups")?.setAttribute("aria-busy", "true");
    this.#say(text("searching"));
    try {
      emit(this, "search", { kind: box ? "frame" : "filter", ...request });
      this.#show(search, await searchAgain(request, search.stop.signal));
    } catch (error) {
      this.#fail(search, error, () => (error.code === "expired" ? this.search(search.file) : this.#change(search, {})));
    }
  }

  #more(search, list) {
    if (!search.group.next) return null;
    let { next } = search.group;
    const button = make("button", { className: "button quiet", type: "button" }, text("more"));
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        const page = await searchAgain({ after: next, top_k: config.topK }, search.stop.signal);
        const group = page.objects[0] ?? page.whole;
        const before = list.children.length;
        list.append(...cards(group.hits, this, page.query_id, before));
        emit(this, "hits", { query_id: page.query_id, hits: group.hits });
        list.children[before]?.firstChild.focus();
        next = group.next;
        button.parentElement.hidden = !next;
      } catch (error) {
        this.#fail(search, error, () => this.#draw(search));
      }
      button.disabled = false;
    });
    return make("div", { className: "more" }, button);
  }

  #fail(search, error, retry) {
    if (search !== this.#search || search.stop.signal.aborted) return;
    const message = error instanceof SearchError ? error.message : text("internal");
    if (!(error instanceof SearchError)) console.error("[vitrine]", error);
    const again = make("button", { className: "button", type: "button", onclick: retry }, text("retry"));
    const another = make("button", { className: "button quiet", type: "button", onclick: () => this.open() }, text("another"));
    this.#main.replaceChildren(make("div", { className: "note" }, make("p", { role: "alert" }, message), make("div", { className: "choices" }, again, another)));
    again.focus();
    emit(this, "error", { code: error.code || "internal", message });
  }
}
