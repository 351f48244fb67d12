"""A catalogue goes from one embedder to the other under continuous searches: what shoppers notice.

    python bench/bench_reprocess.py [--products 1286] [--embedder NAME]

All processes run as in production, on a real Milvus, over the demo catalogue. One shopper searches all
the time, one photo after the other: while nothing else goes on, while the catalogue is re-processed, and
while the new index is promoted, rolled back and promoted again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.common import machine, percentile, write_results  # noqa: E402
from cli.services.milvus import choose_embedded  # noqa: E402
from tests.packing import archive  # noqa: E402
from tests.servers import free_port  # noqa: E402
from tests.stack import Stack  # noqa: E402

OTHER = "embedder-resnet50-half-256"
_POLL_S = 0.05


@dataclass
class Shopper(threading.Thread):
    """Searches without a pause; ``phase`` says what goes on meanwhile."""

    stack: Stack
    photos: list[bytes]
    phase: str = "warm-up"
    spent_ms: dict[str, list[float]] = field(default_factory=dict)
    failed: int = 0
    empty: int = 0
    by_index: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(name="shopper")
        self.stopping = threading.Event()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        with self.stack.client() as client:
            n = 0
            while not self.stopping.is_set():
                self._search(client, self.photos[n % len(self.photos)])
                n += 1

    def _search(self, client: httpx.Client, photo: bytes) -> None:
        phase, began = self.phase, time.perf_counter()
        answer = client.post(
            "/v1/searches",
            files={"image": ("photo.jpg", photo)},
            data={"catalogue": "demo", "top_k": "10"},
            headers={"Prefer": "wait=20"},
        )
        while (task := answer.json()).get("state") in ("queued", "running"):
            time.sleep(_POLL_S)
            answer = client.get(f"/v1/tasks/{task['id']}")
        self.spent_ms.setdefault(phase, []).append(1000 * (time.perf_counter() - began))
        if task.get("state") != "succeeded":
            self.failed += 1
            return
        result = task["result"]
        self.empty += not result["whole"]["hits"]
        index = result["models"]["index"].rpartition("_")[2]
        self.by_index[index] = self.by_index.get(index, 0) + 1

    def during(self, phase: str, seconds: float = 0.0) -> None:
        self.phase = phase
        time.sleep(seconds)


def job(stack: Stack, client: httpx.Client, address: str, **body: Any) -> dict[str, Any]:
    """Start a job and wait for its end; ``took_s`` is from the request to the end."""
    began = time.perf_counter()
    answer = client.post(f"/v1/catalogues/demo/{address}", json=body)
    assert answer.status_code == 202, answer.text
    ended = at_the_end(stack, answer.json()["id"])
    return {**ended, "took_s": round(time.perf_counter() - began, 2)}


def at_the_end(stack: Stack, job_id: str) -> dict[str, Any]:
    """Return the job when it has succeeded, however long it takes."""
    while (found := stack.job(job_id))["state"] in ("queued", "running"):
        time.sleep(0.2)
    assert found["state"] == "succeeded", found
    return found


def measure(stack: Stack, pictures: dict[str, bytes], embedder: str, idle_s: float) -> dict[str, Any]:
    imported = at_the_end(stack, stack.import_folder("demo", archive(pictures)))
    assert imported["counts"]["new"] == len(pictures), imported
    shopper = Shopper(stack, list(pictures.values())[:: max(len(pictures) // 32, 1)])
    shopper.start()
    try:
        with stack.client() as client:
            shopper.during("warm-up", 5.0)
            shopper.during("idle", idle_s)
            shopper.during("re-processing")
            done = job(stack, client, "reprocess", embedder=embedder)
            shopper.during("moving")
            promoted = job(stack, client, "promote", force=done["report"]["gate"]["verdict"] != "passed")
            rolled_back = job(stack, client, "rollback")
            again = job(stack, client, "rollback")
            shopper.during("idle on the new index", idle_s)
            indexes = client.get("/v1/catalogues/demo/indexes").json()
    finally:
        shopper.stopping.set()
        shopper.join()
    return {
        **figures(shopper, done),
        "promote_s": promoted["took_s"],
        "rollback_s": rolled_back["took_s"],
        "second_rollback_s": again["took_s"],
        "indexes": [{k: i[k] for k in ("number", "state", "embedder", "images")} for i in indexes],
    }


def figures(shopper: Shopper, done: dict[str, Any]) -> dict[str, Any]:
    spent = shopper.spent_ms
    idle, during = spent["idle"], spent["re-processing"]
    report = done["report"]
    seconds = done["took_s"]
    return {
        "searches": sum(map(len, spent.values())),
        "searches_failed": shopper.failed,
        "searches_empty": shopper.empty,
        "searches_by_index": shopper.by_index,
        **{
            f"{phase.replace(' ', '_').replace('-', '_')}_{name}_ms": percentile(values, share, 1)
            for phase, values in spent.items()
            if phase != "warm-up"
            for name, share in (("p50", 0.5), ("p95", 0.95))
        },
        "during_over_idle_p50_ratio": round(percentile(during, 0.5, 1) / percentile(idle, 0.5, 1), 2),
        "during_over_idle_p95_ratio": round(percentile(during, 0.95, 1) / percentile(idle, 0.95, 1), 2),
        "reprocess_s": seconds,
        "reprocess_images_per_s": round(done["images"] / seconds, 2),
        "reprocess_stages_s": done["stages_s"],
        "reconcile": {k: report["reconcile"][k] for k in ("expected", "found", "missing", "orphans")},
        "gate": report["gate"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--products", type=int, default=10_000)
    parser.add_argument("--embedder", default=OTHER)
    parser.add_argument("--idle-s", type=float, default=30.0)
    args = parser.parse_args()
    paths = sorted((ROOT / "demo" / "images").glob("*"))[: args.products]
    pictures = {path.name: path.read_bytes() for path in paths}
    before = machine()
    with tempfile.TemporaryDirectory() as folder:
        server = choose_embedded("auto", Path(folder) / "milvus", free_port())
        server.start()
        server.wait_ready()
        models = {"VITRINE_MODELS__DETECTOR": "default", "VITRINE_MODELS__EMBEDDER": "default"}
        stack = Stack(Path(folder) / "stack", server.uri, "bench", models)
        try:
            stack.start()
            results = {
                **before,
                "products": len(pictures),
                **measure(stack, pictures, args.embedder, args.idle_s),
            }
        finally:
            stack.stop()
            server.stop()
    write_results(ROOT / "bench" / "results" / "reprocess.json", results)


if __name__ == "__main__":
    main()
