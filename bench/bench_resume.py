"""Kill a bulk import at random points and measure how it resumes (M27 of the fault matrix).

    python bench/bench_resume.py [--products 100000] [--kills 10] [--seed 27] [--limit-min 60]

All processes run as in production, on a real Milvus. A few hundred pictures are replicated under new product
ids; equal pictures are embedded once, so that database and index dominate. The catalogue worker and its
children are killed with SIGKILL when a seeded random number of products is done, and restarted. The database
has the attempts of each chunk; at most one chunk per kill may be repeated.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import func, select

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.common import machine, running_stack, write_results, write_source  # noqa: E402
from shared.contracts.states import OPEN_STATES  # noqa: E402
from shared.database import Database  # noqa: E402
from shared.database.tables import Chunk, Detection, Job, Product  # noqa: E402
from tests.stack import Stack  # noqa: E402
from worker.vector_index import MilvusIndex  # noqa: E402


class JobWatch:
    """Reads the only job from the database."""

    def __init__(self, database: Database, deadline: float) -> None:
        self._database = database
        self._deadline = deadline

    def row(self) -> Job | None:
        """Return the job, None before it is accepted."""
        with self._database.read() as session:
            return session.scalar(select(Job))

    def done(self) -> int:
        """Return the number of products done."""
        job = self.row()
        return 0 if job is None else job.new + job.changed + job.unchanged + job.failed

    def count_repeated(self) -> int:
        """Count the repeated attempts of all chunks."""
        with self._database.read() as session:
            return session.scalar(select(func.sum(Chunk.attempts - 1)).where(Chunk.attempts > 0)) or 0

    def count(self, table: type[Product] | type[Detection]) -> int:
        """Count the rows of a table."""
        with self._database.read() as session:
            return session.scalar(select(func.count()).select_from(table)) or 0

    def wait(self, what: str, check: Callable[[], bool]) -> None:
        """Wait for a condition.

        Raises:
            SystemExit: the time limit passed, or the job ended first.
        """
        while not check():
            if time.monotonic() > self._deadline:
                raise SystemExit(f"The limit was reached while waiting: {what}; {self.done():,} were done.")
            job = self.row()
            if job is not None and job.state not in OPEN_STATES and not check():
                raise SystemExit(f"The job ended while waiting: {what}; {job.state} {job.error_message}")
            time.sleep(0.02)


def kill_and_resume(stack: Stack, watch: JobWatch, points: list[int]) -> list[tuple[int, float]]:
    """Kill the worker at each point; return repeated chunks and seconds until progress, per kill."""
    kills = []
    for number, point in enumerate(points, start=1):
        watch.wait(f"{point:,} products done", lambda at=point: watch.done() >= at)  # type: ignore[misc]
        stack.kill("catalogue")
        before, done, began = watch.count_repeated(), watch.done(), time.monotonic()
        stack.start_one("catalogue")
        watch.wait("the import goes on", lambda at=done: watch.done() > at)  # type: ignore[misc]
        kills.append((watch.count_repeated() - before, time.monotonic() - began))
        print(f"kill {number} at {done:,}: went on after {kills[-1][1]:.1f} s", file=sys.stderr)
    return kills


def measure(stack: Stack, products: int, kills: int, seed: int, deadline: float) -> dict[str, object]:
    """Run the import with its kills and return the figures."""
    source = stack.folder / "source"
    write_source(source, products)
    stack.env["VITRINE_JOBS__IMPORT_ROOTS"] = json.dumps([str(source)])
    stack.start()
    database = Database(stack.database_url)
    watch = JobWatch(database, deadline)
    began = time.monotonic()
    answer = stack.client().post("/v1/catalogues/shop/imports", json={"source": str(source)})
    assert answer.status_code == 202, answer.text
    watch.wait("the manifest is read", lambda: watch.done() > 0)
    planned_s = time.monotonic() - began
    chance = random.Random(seed)
    points = sorted(chance.sample(range(1, products - products // 20), kills))
    resumed = kill_and_resume(stack, watch, points)
    watch.wait("the end", lambda: (job := watch.row()) is not None and job.state not in OPEN_STATES)
    job = watch.row()
    assert job is not None
    spent = time.monotonic() - began
    index = MilvusIndex(stack.env["VITRINE_MILVUS__URI"], timeout_s=60)
    rows = index.count(f"{stack.env['VITRINE_MILVUS__PREFIX']}_1")
    proof = (job.report or {}).get("reconcile", {})
    waits = [seconds for _, seconds in resumed]
    try:
        return {
            "job_state": job.state,
            "products": products,
            "catalogue_products": watch.count(Product),
            "database_rows": watch.count(Detection),
            "index_rows": rows,
            "reconcile_expected": proof.get("expected"),
            "reconcile_found": proof.get("found"),
            "reconcile_missing": proof.get("missing"),
            "reconcile_orphans": proof.get("orphans"),
            "images_embedded": job.images,
            "kills": kills,
            "chunks_begun_again": watch.count_repeated(),
            "chunks_begun_again_a_kill_max": max(count for count, _ in resumed),
            "resumed_p50_s": round(statistics.median(waits), 1),
            "resumed_max_s": round(max(waits), 1),
            "first_products_after_s": round(planned_s, 1),
            "total_s": round(spent, 1),
            "products_per_s": round(products / spent, 1),
        }
    finally:
        index.close()
        database.close()


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--products", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=27)
    parser.add_argument("--limit-min", type=float, default=60.0, help="time limit in minutes")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "resume.json")
    args = parser.parse_args()
    deadline = time.monotonic() + 60 * args.limit_min
    before = machine()
    # No model runs here, so a micro-batch may be as large as a chunk.
    with running_stack({"VITRINE_MODELS__MICRO_BATCH": "64"}) as stack:
        found = measure(stack, args.products, args.kills, args.seed, deadline)
    write_results(args.out, {**before, "seed": args.seed, **found})


if __name__ == "__main__":
    main()
