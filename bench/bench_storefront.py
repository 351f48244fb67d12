"""Measure the storefront in Chromium: first paint, layout shift, bytes, and the time from photo to hits.

The server at the address must hold a catalogue, such as the demo that `vitrine up` imports.

    python bench/bench_storefront.py --photo PHOTO --url http://127.0.0.1:8000
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from playwright.sync_api import ViewportSize

from bench.common import machine, percentile, write_results
from tests.browser import SIZES, Browser

_REPEATS = 9
#: Sums up layout shifts that no press caused, from the start of a page on.
_SHIFTS = """
window.shift = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""
#: Notes when a photo was chosen and when its first hit was drawn.
_TIMES = """
() => {
  document.getElementById("image").addEventListener("change", () => { window.chosen = performance.now(); },
    { capture: true });
  new MutationObserver(() => {
    if (!window.drawn && document.querySelector("#result .hit")) {
      requestAnimationFrame(() => { window.drawn = performance.now(); });
    }
  }).observe(document.getElementById("result"), { childList: true, subtree: true });
}
"""


def measure(browser: Browser, size: ViewportSize, url: str, photo: Path) -> dict[str, float]:
    """Open the page in a new profile and search with the photo; return what that took."""
    window = browser.open(size, language="en-GB")
    page, received = window.page, [0.0]
    session = window.context.new_cdp_session(page)
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    page.add_init_script(_SHIFTS)
    page.goto(url)
    page.wait_for_load_state("networkidle")
    paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    found = {"first_paint_ms": float(page.evaluate(paint)), "first_view_bytes": sum(received)}
    received.clear()
    page.evaluate(_TIMES)
    page.set_input_files("#image", photo)
    window.wait_state("done")
    page.wait_for_load_state("networkidle")
    found["photo_to_hits_ms"] = float(page.evaluate("window.drawn - window.chosen"))
    found["result_bytes"] = sum(received)
    found["layout_shift"] = float(page.evaluate("window.shift"))
    window.close()
    return found


def main() -> None:
    """Measure phone and desktop, and write medians and maxima."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--photo", type=Path, required=True)
    arguments = parser.parse_args()
    results: dict[str, object] = {"machine": machine(), "repeats": _REPEATS}
    with Browser() as browser:
        for name, size in SIZES.items():
            measure(browser, size, arguments.url, arguments.photo)  # warms the server's caches
            runs = [measure(browser, size, arguments.url, arguments.photo) for _ in range(_REPEATS)]
            for key in runs[0]:
                results[f"{name}_{key}_p50"] = percentile([run[key] for run in runs], 0.5, 3)
                results[f"{name}_{key}_max"] = round(max(run[key] for run in runs), 3)
    write_results(Path("bench/results/storefront.json"), results)


if __name__ == "__main__":
    main()
