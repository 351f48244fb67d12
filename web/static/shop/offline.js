// Reloads the requested page once the server is reachable again.
import { root } from "./root.js";

const POLL_INTERVAL_MS = 3000;

async function checkServer() {
  try {
    if ((await fetch(`${root}/healthz`, { cache: "no-store" })).ok) location.reload();
  } catch { /* not yet */ }
}

window.addEventListener("online", checkServer);
setInterval(checkServer, POLL_INTERVAL_MS);
