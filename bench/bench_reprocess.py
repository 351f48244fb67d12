"""Measure searches while a catalogue moves to another embedder.

    python bench/bench_reprocess.py [--products 1286] [--embedder NAME]

All processes run as in production, on a real Milvus, with the demo catalogue. One client searches
continuously, one photo after the other: on an idle system, during the re-processing, and while the new index
is promoted, rolled back and promoted again.
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
    """Searches continuously; ``phase`` names the concurrent work."""

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
        """Search until ``stopping`` is set."""
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

    def enter(self, phase: str, seconds: float = 0.0) -> None:
        """Start a phase, and wait."""
        self.phase = phase
        time.sleep(seconds)


def run_job(stack: Stack, client: httpx.Client, address: str, **body: Any) -> dict[str, Any]:
    """Start a job and wait for its end; ``took_s`` is the duration from the request."""
    began = time.perf_counter()
    answer = client.post(f"/v1/catalogues/demo/{address}", json=body)
    assert answer.status_code == 202, answer.text
    ended = wait_for_success(stack, answer.json()["id"])
    return {**ended, "took_s": round(time.perf_counter() - began, 2)}


def wait_for_success(stack: Stack, job_id: str) -> dict[str, Any]:
    """Wait without a timeout until the job has succeeded, and return it."""
    while (found := stack.job(job_id))["state"] in ("queued", "running"):
        time.sleep(0.2)
    assert found["state"] == "succeeded", found
    return found


def measure(stack: Stack, pictures: dict[str, bytes], embedder: str, idle_s: float) -> dict[str, Any]:
    """Run all phases and return the figures."""
    imported = wait_for_success(stack, stack.import_folder("demo", archive(pictures)))
    assert imported["counts"]["new"] == len(pictures), imported
    shopper = Shopper(stack, list(pictures.values())[:: max(len(pictures) // 32, 1)])
    shopper.start()
    try:
        with stack.client() as client:
            shopper.enter("warm-up", 5.0)
            shopper.enter("idle", idle_s)
            shopper.enter("re-processing")
            done = run_job(stack, client, "reprocess", embedder=embedder)
            shopper.enter("moving")
            promoted = run_job(stack, client, "promote", force=done["report"]["gate"]["verdict"] != "passed")
            rolled_back = run_job(stack, client, "rollback")
            repeated = run_job(stack, client, "rollback")
            shopper.enter("idle on the new index", idle_s)
            indexes = client.get("/v1/catalogues/demo/indexes").json()
    finally:
        shopper.stopping.set()
        shopper.join()
    return {
        **to_figures(shopper, done),
        "promote_s": promoted["took_s"],
        "rollback_s": rolled_back["took_s"],
        "second_rollback_s": repeated["took_s"],
        "indexes": [{k: i[k] for k in ("number", "state", "embedder", "images")} for i in indexes],
    }


def to_figures(shopper: Shopper, done: dict[str, Any]) -> dict[str, Any]:
    """Compute the figures under flat keys."""
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
    """Measure and write the results."""
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
