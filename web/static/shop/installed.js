// The page as an application: its service worker, and the offer to install it.
import { at } from "./screen.js";

const SPOKEN = "vitrine-offline-language";

// The page for when it is offline was kept in the language of the first visit: kept anew in another.
async function keepOfflinePage() {
  const { lang } = document.documentElement;
  if (localStorage.getItem(SPOKEN) === lang) return;
  const name = (await caches.keys()).find((each) => each.startsWith("vitrine-shell-"));
  if (!name) return;
  await (await caches.open(name)).add("/offline");
  localStorage.setItem(SPOKEN, lang);
}

export function install() {
  if ("serviceWorker" in navigator) {
    navigator.serviceWorker.register("/sw.js").then(() => navigator.serviceWorker.ready).then(keepOfflinePage)
      .catch(() => { /* the page works without */ });
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
