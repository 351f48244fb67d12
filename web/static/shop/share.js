// Shares the page's address through the device's share menu or the clipboard.
import { translate } from "./texts.js";

export function offerShare(root) {
  const button = root.querySelector(".share");
  if (!button || !(navigator.share || navigator.clipboard)) return;
  button.hidden = false;
  if (navigator.share) button.textContent = translate("share");
  button.onclick = async () => {
    try {
      if (navigator.share) await navigator.share({ title: document.title, url: location.href });
      else {
        await navigator.clipboard.writeText(location.href);
        button.textContent = translate("copied");
      }
    } catch { /* sharing was cancelled */ }
  };
}
