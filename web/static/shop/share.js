// Shares the page's address through the device's share menu or the clipboard.
import { announce } from "./screen.js";
import { translate } from "./texts.js";

const SHOWN_MS = 2000;

export function offerShare(root) {
  if (!(navigator.share || navigator.clipboard)) return;
  for (const button of root.querySelectorAll(".share")) {
    button.hidden = false;
    button.onclick = () => share(button);
  }
}

async function share(button) {
  try {
    if (navigator.share) await navigator.share({ title: document.title, url: location.href });
    else {
      await navigator.clipboard.writeText(location.href);
      flash(button);
    }
  } catch { /* sharing was cancelled */ }
}

// Says "Copied" next to the button for a moment.
function flash(button) {
  button.dataset.done = translate("copied");
  announce(translate("copied"));
  setTimeout(() => delete button.dataset.done, SHOWN_MS);
}
