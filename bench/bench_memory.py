"""Measure the peak memory of the catalogue worker: a small and a large import, and a long manifest.

    python bench/bench_memory.py [--small 1000] [--large 100000] [--manifest 1000000]

Each import runs in its own process with its own Milvus, database and image store: the manifest is planned,
all products are read, embedded or copied, and written, and index and database are compared at the end. A few
hundred pictures are replicated under new product ids; equal pictures are embedded once. The long manifest is
only planned, in a process of its own. The peak is the kernel's (VmHWM).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.common import machine, write_results, write_source  # noqa: E402
from cli.services.milvus import choose_embedded  # noqa: E402
from shared.broker.task_names import Lane  # noqa: E402
from shared.catalogue.store import CatalogueStore  # noqa: E402
from shared.database.migrate import migrate  # noqa: E402
from shared.factories import open_database  # noqa: E402
from shared.jobs.repository import JobRepository  # noqa: E402
from shared.settings import JobSettings, MilvusSettings, ModelSettings, Settings  # noqa: E402
from tests.servers import free_port  # noqa: E402
from worker.process import build_process  # noqa: E402


def run_import(folder: Path, milvus_uri: str, *, plan_only: bool) -> dict[str, Any]:
    """Import the folder's source in this process; return its figures."""
    source = folder / "source"
    settings = Settings(
        data_dir=folder / "data",
        milvus=MilvusSettings(uri=milvus_uri),
        jobs=JobSettings(import_roots=(str(source),)),
        models=ModelSettings(detector="none", embedder="colour-histogram") if plan_only else ModelSettings(),
    )
    database = open_database(settings)
    migrate(database)
    CatalogueStore(database).create("shop")
    jobs = JobRepository(database)
    job = jobs.create_import("shop", {"path": str(source)}).id
    worker = build_process(settings, Lane.CATALOGUE, "catalogue@bench")
    began, cpu_began = time.monotonic(), time.process_time()
    while worker.catalogue.work_one() is not None:
        if plan_only:
            break
    status = jobs.status(job)
    spent_s, cpu_s = time.monotonic() - began, time.process_time() - cpu_began
    worker.close()
    assert status.error is None, status
    return {
        "peak_bytes": peak_bytes(),
        "total": status.total,
        "done": status.done,
        "images": status.images,
        "images_reused": status.images_reused,
        "report": status.report,
        "seconds": spent_s,
        "cpu_s": cpu_s,
    }


def peak_bytes() -> int:
    """Return the peak memory of this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


def run_in_child(products: int, *, plan_only: bool) -> dict[str, Any]:
    """Run an import of ``products`` products in its own process, on its own Milvus."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_source(folder / "source", products)
        server = choose_embedded("auto", folder / "milvus", free_port())
        server.start()
        try:
            server.wait_ready()
            argv = [sys.executable, __file__, "--child", str(folder), "--uri", server.uri]
            out = subprocess.run(
                [*argv, *(["--plan-only"] if plan_only else [])], check=True, stdout=subprocess.PIPE
            ).stdout
        finally:
            server.stop()
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    print(f"{products:,} products: {found}", file=sys.stderr)
    return found


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", type=int, default=1_000)
    parser.add_argument("--large", type=int, default=100_000)
    parser.add_argument("--manifest", type=int, default=1_000_000)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--uri", help=argparse.SUPPRESS)
    parser.add_argument("--plan-only", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        print(json.dumps(run_import(args.child, args.uri, plan_only=args.plan_only)))
        return
    before = machine()
    small = run_in_child(args.small, plan_only=False)
    large = run_in_child(args.large, plan_only=False)
    few = run_in_child(args.small, plan_only=True)
    many = run_in_child(args.manifest, plan_only=True)
    proof = large["report"]["reconcile"]
    results = {
        **before,
        "small_products": args.small,
        "large_products": args.large,
        "small_peak_mb": round(small["peak_bytes"] / 2**20, 1),
        "large_peak_mb": round(large["peak_bytes"] / 2**20, 1),
        "memory_large_over_small_ratio": round(large["peak_bytes"] / small["peak_bytes"], 3),
        "large_images_embedded": large["images"],
        "large_images_reused": large["images_reused"],
        "large_products_per_s": round(args.large / large["seconds"], 1),
        "large_cpu_ms_per_product": round(1000 * large["cpu_s"] / args.large, 2),
        "large_index_rows": proof["found"],
        "large_index_missing": proof["missing"],
        "large_index_orphans": proof["orphans"],
        "manifest_rows": args.manifest,
        "plan_small_peak_mb": round(few["peak_bytes"] / 2**20, 1),
        "plan_large_peak_mb": round(many["peak_bytes"] / 2**20, 1),
        "plan_memory_large_over_small_ratio": round(many["peak_bytes"] / few["peak_bytes"], 3),
        "plan_rows_per_s": round(args.manifest / many["seconds"]),
    }
    write_results(ROOT / "bench" / "results" / "memory.json", results)


if __name__ == "__main__":
    main()
