"""Compare searches over HTTP with the bare pipeline on the same photos, sequential and concurrent.

    python bench/bench_search.py [--searches 40] [--shoppers 8]

All processes run as in production, on a real Milvus, with the demo catalogue. The bare pipeline decodes,
detects and embeds the photo that the web stores, one at a time, in this process. The two alternate.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.common import SHIPPED, machine, percentile, running_stack, write_results  # noqa: E402
from shared.broker.celery_config import make_celery  # noqa: E402
from shared.broker.task_names import TaskName  # noqa: E402
from shared.images import ImageLimits, decode, normalise  # noqa: E402
from tests.packing import archive  # noqa: E402
from tests.stack import Stack  # noqa: E402
from worker.vision.building import build_pipeline  # noqa: E402
from worker.vision.pipeline import Pipeline  # noqa: E402


def search_ms(wire: HTTPConnection, photo: bytes) -> tuple[float, dict[str, float]]:
    """Return the milliseconds from sending the photo to the answer's last byte, and those of the stages."""
    # Encode before the clock starts and use a minimal client: a shopper's browser is not part of Vitrine.
    form = httpx.Request(
        "POST",
        "http://vitrine/v1/searches",
        files={"image": ("photo.jpg", photo)},
        data={"catalogue": "demo", "top_k": "10"},
    )
    body, headers = form.read(), {"Content-Type": form.headers["Content-Type"], "Prefer": "wait=20"}
    began = time.perf_counter()
    wire.request("POST", "/v1/searches", body, headers)
    text = wire.getresponse().read()
    spent = time.perf_counter() - began
    # Under load the web limits waiting threads, and some clients have to poll.
    while (task := json.loads(text))["state"] in ("queued", "running"):
        time.sleep(0.05)
        wire.request("GET", f"/v1/tasks/{task['id']}")
        text = wire.getresponse().read()
        spent = time.perf_counter() - began
    assert task["state"] == "succeeded", text
    timings: dict[str, float] = task["result"]["timings_ms"]
    return 1000 * spent, timings


def bare_ms(pipeline: Pipeline, photo: bytes) -> float:
    """Return the milliseconds of the bare pipeline."""
    began = time.perf_counter()
    pipeline.embed_query([decode(photo, ImageLimits())])
    return 1000 * (time.perf_counter() - began)


def search_tasks(stack: Stack) -> int:
    """Count the search tasks that the workers have received."""
    stats = make_celery(stack.redis.url).control.inspect(timeout=10.0).stats() or {}
    return sum(worker["total"].get(str(TaskName.ANSWER_SEARCH), 0) for worker in stats.values())


def measure(stack: Stack, photos: list[bytes], searches: int, shoppers: int) -> dict[str, object]:
    """Measure sequential and concurrent searches; return figures under flat keys."""
    pipeline = build_pipeline(
        models_dir=ROOT / "models",
        detector_name="default",
        embedder_name="default",
        cache_dir=stack.folder / "data" / "models",
    )
    pipeline.warm_up()
    normalised = [normalise(photo, ImageLimits()).jpeg for photo in photos]
    alone, bare, stages = [], [], []
    tasks_before = search_tasks(stack)
    with closing(HTTPConnection("127.0.0.1", stack.port)) as wire:
        for n in range(searches):
            bare.append(bare_ms(pipeline, normalised[n % len(photos)]))
            spent, timings = search_ms(wire, photos[n % len(photos)])
            alone.append(spent)
            stages.append(timings)

    def shop(first: int) -> list[float]:
        with closing(HTTPConnection("127.0.0.1", stack.port)) as own:
            return [search_ms(own, photos[(first + k) % len(photos)])[0] for k in range(searches // 2)]

    began = time.perf_counter()
    with ThreadPoolExecutor(shoppers) as pool:
        crowd = [ms for part in pool.map(shop, range(shoppers)) for ms in part]
    crowd_s = time.perf_counter() - began
    tasks = search_tasks(stack) - tasks_before
    return {
        "tasks_per_search": round(tasks / (len(alone) + len(crowd)), 3),
        "search_p50_ms": percentile(alone, 0.5, 1),
        "search_p95_ms": percentile(alone, 0.95, 1),
        "bare_p50_ms": percentile(bare, 0.5, 1),
        "search_overhead_p50_ms": round(
            statistics.median(a - b for a, b in zip(alone, bare, strict=True)), 1
        ),
        "stages_p50_ms": {k: percentile([t[k] for t in stages], 0.5, 1) for k in stages[0]},
        "crowd_shoppers": shoppers,
        "crowd_p50_ms": percentile(crowd, 0.5, 1),
        "crowd_p95_ms": percentile(crowd, 0.95, 1),
        "crowd_searches_per_s": round(len(crowd) / crowd_s, 2),
        "crowd_over_bare_throughput_ratio": round(len(crowd) / crowd_s * statistics.median(bare) / 1000, 3),
    }


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--searches", type=int, default=40)
    parser.add_argument("--shoppers", type=int, default=8)
    parser.add_argument("--products", type=int, default=300, help="products of the demo to search in")
    parser.add_argument("--photos", type=Path, default=ROOT / "demo" / "images", help="folder of photos")
    args = parser.parse_args()
    paths = sorted((ROOT / "demo" / "images").glob("*"))[: args.products]
    photos = [path.read_bytes() for path in sorted(args.photos.glob("*.jpg"))[:20]]
    before = machine()
    with running_stack(SHIPPED) as stack:
        stack.start()
        packed = archive({path.name: path.read_bytes() for path in paths})
        assert stack.wait_job(stack.import_folder("demo", packed))["state"] == "succeeded"
        found = measure(stack, photos, args.searches, args.shoppers)
    results = {**before, "products": len(paths), **found}
    write_results(ROOT / "bench" / "results" / "search.json", results)


if __name__ == "__main__":
    main()
