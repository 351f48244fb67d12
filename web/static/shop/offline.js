// Goes back to the page that was wanted as soon as the server can be reached again.
const LOOK_MS = 3000;

async function look() {
  try {
    if ((await fetch("/healthz", { cache: "no-store" })).ok) location.reload();
  } catch { /* not yet */ }
}

window.addEventListener("online", look);
setInterval(look, LOOK_MS);
