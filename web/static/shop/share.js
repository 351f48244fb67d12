// Hands the page's address on: by the device's own menu, or the clipboard.
import { say } from "./words.js";

export function offerShare(root) {
  const button = root.querySelector(".share");
  if (!button || !(navigator.share || navigator.clipboard)) return;
  button.hidden = false;
  if (navigator.share) button.textContent = say("share");
  button.onclick = async () => {
    try {
      if (navigator.share) await navigator.share({ title: document.title, url: location.href });
      else {
        await navigator.clipboard.writeText(location.href);
        button.textContent = say("copied");
      }
    } catch { /* the reader thought better of it */ }
  };
}
