// Photo inputs: camera, gallery, drop, paste and the phone's share menu. Of several photos, all are searched
// together or one is picked.
import { root } from "./root.js";
import { at, body, show, toast } from "./screen.js";
import { translate } from "./texts.js";

const SHARED = `vitrine-shared${root}`;

export function openInputs(search, searchAddress) {
  if (!at("image")) return; // no catalogue to search in
  const take = (files) => (files.length > 1 ? pick(files, search) : search(files));

  for (const id of ["image", "camera"]) {
    at(id).addEventListener("change", (event) => {
      take([...event.target.files]);
      event.target.value = ""; // so that the same photo can be chosen again
    });
  }
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files || [])];
    if (files.length) take(files);
    else if (!event.target.closest("input")) takeLink(event.clipboardData?.getData("text/plain") || "", searchAddress);
  });
  at("by-address")?.addEventListener("submit", (event) => {
    event.preventDefault();
    searchAddress(event.target);
  });
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      body.classList.add("dragging");
    });
  }
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    body.classList.remove("dragging");
    const files = [...event.dataTransfer.files];
    if (files.length) take(files);
    else takeLink(event.dataTransfer.getData("text/uri-list").split("\n")[0], searchAddress);
  });
  takeShared(search);
}

// Searches with a pasted or dropped address of a picture, if this shop fetches addresses.
function takeLink(text, searchAddress) {
  if (!/^https?:\/\/\S+$/i.test(text.trim())) return;
  const form = at("by-address");
  if (!form) return toast(translate("no_links"));
  at("address").value = text.trim();
  searchAddress(form);
}

function pick(files, search) {
  const tiles = files.map((file) => {
    const button = document.createElement("button");
    const image = document.createElement("img");
    button.type = "button";
    button.className = "tile";
    button.setAttribute("aria-label", translate("pick", { name: file.name }));
    image.alt = "";
    image.src = URL.createObjectURL(file);
    image.onerror = () => image.replaceWith(file.name); // formats that the browser cannot show get their name
    button.append(image);
    button.addEventListener("click", () => search([file]));
    const item = document.createElement("li");
    item.append(button);
    return item;
  });
  at("picks").replaceChildren(...tiles);
  const many = files.length > Number(at("ask").dataset.maxPhotos);
  at("pick-many").hidden = !many;
  at("pick-few").hidden = at("pick-all").hidden = many;
  at("pick-all").onclick = () => search(files);
  show("pick");
  at("pick").focus();
}

// Searches with a picture that the service worker stored when it was shared to the app.
async function takeShared(search) {
  if (!new URLSearchParams(location.search).has("shared") || !("caches" in window)) return;
  history.replaceState({}, "", `${root}/`);
  const cache = await caches.open(SHARED);
  const kept = await cache.match(`${root}/shared`);
  if (!kept) return;
  await cache.delete(`${root}/shared`);
  search([await kept.blob()]);
}
