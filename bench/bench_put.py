"""Measure the time from a put product to its first hit, on an idle machine and during a bulk import.

    python bench/bench_put.py [--puts 20] [--bulk 600]

All processes run as in production with the shipped models, on a real Milvus. A product is put over HTTP with
its own photo, and searched with that photo repeatedly until a search returns it. The time includes the last
search, as for a shopper.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.common import SHIPPED, machine, percentile, running_stack, write_results  # noqa: E402
from tests.packing import archive  # noqa: E402
from tests.stack import Stack  # noqa: E402

#: Timeout of one put.
_TIMEOUT_S = 120.0


def measure_put_s(client: httpx.Client, product_id: str, photo: bytes) -> tuple[float, float]:
    """Put the product; return the seconds until its job ended, and until a search returned it."""
    began = time.perf_counter()
    answer = client.put(
        f"/v1/catalogues/shop/products/{product_id}",
        data={"product": "{}"},
        files={"image": ("photo.jpg", photo)},
    )
    assert answer.status_code == 202, answer.text
    job, written_s = answer.json()["id"], 0.0
    while (spent := time.perf_counter() - began) < _TIMEOUT_S:
        if not written_s and client.get(f"/v1/jobs/{job}").json()["state"] == "succeeded":
            written_s = time.perf_counter() - began
        found = client.post(
            "/v1/searches",
            files={"image": ("photo.jpg", photo)},
            data={"catalogue": "shop", "top_k": "5"},
            headers={"Prefer": "wait=20"},
        ).json()
        hits = (found.get("result") or {}).get("whole", {}).get("hits", [])
        if any(hit["product_id"] == product_id for hit in hits):
            found_s = time.perf_counter() - began
            return written_s or found_s, found_s
    raise SystemExit(f"{product_id} was not found in {spent:.0f} s")


def measure(stack: Stack, photos: list[bytes], bulk: dict[str, bytes], puts: int) -> dict[str, object]:
    """Measure puts on an idle machine, then during an import."""
    with stack.client() as client:
        client.put("/v1/catalogues/shop")
        measure_put_s(client, "warm-up", photos[0])
        idle = [measure_put_s(client, f"idle-{n}", photos[1 + n]) for n in range(puts)]
        job = stack.import_folder("shop", archive(bulk))
        while client.get(f"/v1/jobs/{job}").json()["done"] == 0:
            time.sleep(0.05)
        busy: list[tuple[float, float]] = []
        for photo in photos[1 + puts : 1 + 2 * puts]:
            if client.get(f"/v1/jobs/{job}").json()["state"] != "running":
                break
            busy.append(measure_put_s(client, f"busy-{len(busy)}", photo))
        under_way = client.get(f"/v1/jobs/{job}").json()["state"] == "running"
    result: dict[str, object] = {"puts_idle": len(idle), "puts_during_import": len(busy)}
    for name, found in (("idle", idle), ("during_import", busy)):
        for what, values in (("written", [w for w, _ in found]), ("found", [f for _, f in found])):
            result[f"{name}_{what}_p50_s"] = round(statistics.median(values), 2)
            result[f"{name}_{what}_p95_s"] = percentile(values, 0.95, 2)
    return {**result, "import_outlasted_the_puts": under_way}


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--puts", type=int, default=20)
    parser.add_argument("--bulk", type=int, default=600, help="products of the bulk import")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "put.json")
    args = parser.parse_args()
    paths = sorted((ROOT / "demo" / "images").glob("*"))
    photos = [path.read_bytes() for path in paths[: 1 + 2 * args.puts]]
    bulk = {path.name: path.read_bytes() for path in paths[len(photos) : len(photos) + args.bulk]}
    before = machine()
    with running_stack(SHIPPED) as stack:
        stack.start()
        found = measure(stack, photos, bulk, args.puts)
    write_results(args.out, {**before, **found})


if __name__ == "__main__":
    main()
