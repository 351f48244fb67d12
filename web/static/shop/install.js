// The installable app: its service worker and the install button.
import { root } from "./root.js";
import { at } from "./screen.js";

const LANGUAGE_KEY = "vitrine-offline-language";

// Caches the offline page again when the language changes.
async function cacheOfflinePage() {
  const { lang } = document.documentElement;
  if (localStorage.getItem(LANGUAGE_KEY) === lang) return;
  const name = (await caches.keys()).find((each) => each.startsWith(`vitrine-shell${root}-`));
  if (!name) return;
  await (await caches.open(name)).add(`${root}/offline`);
  localStorage.setItem(LANGUAGE_KEY, lang);
}

export function install() {
  if ("serviceWorker" in navigator) {
    navigator.serviceWorker.register(`${root}/sw.js`).then(() => navigator.serviceWorker.ready).then(cacheOfflinePage)
      .catch(() => { /* the page works without a service worker */ });
  }
  window.addEventListener("beforeinstallprompt", (event) => {
    const button = at("install");
    if (!button) return;
    event.preventDefault();
    button.hidden = false;
    button.onclick = () => {
      button.hidden = true;
      event.prompt();
    };
  });
}
