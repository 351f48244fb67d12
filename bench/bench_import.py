"""Bulk import against a bare loop over the same pictures, in the same run.

    python bench/bench_import.py [--pictures 960] [--rounds 2]

The bare loop reads, decodes, detects and embeds in the same micro-batches, with no queue, no database, no
image store and no index. The import runs the catalogue lane on a real Milvus, database and image store, in
this process, so that both have the same models. They take turns, so that whatever else the machine does
falls on both alike; the ratio is what holds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from cli.services.milvus import choose_embedded  # noqa: E402
from shared.catalogue import CatalogueStore  # noqa: E402
from shared.database.migrate import migrate  # noqa: E402
from shared.images import decode  # noqa: E402
from shared.ledger.jobs import JobLedger  # noqa: E402
from shared.open_parts import image_limits, open_database, open_image_store  # noqa: E402
from shared.settings import MilvusSettings, Settings  # noqa: E402
from shared.task_names import Lane  # noqa: E402
from tests.packing import archive  # noqa: E402
from tests.servers import free_port  # noqa: E402
from worker.lanes import WorkerProcess, build_process  # noqa: E402

SIDE_NEEDED_PX = 640


def bare_s(worker: WorkerProcess, settings: Settings, pictures: dict[str, bytes]) -> float:
    """Seconds that decoding, detecting and embedding alone take."""
    limits, size = image_limits(settings, catalogue=True), settings.models.micro_batch
    data = list(pictures.values())
    began = time.perf_counter()
    for start in range(0, len(data), size):
        worker.pipelines.default.embed_catalogue(
            [decode(d, limits, SIDE_NEEDED_PX) for d in data[start : start + size]]
        )
    return time.perf_counter() - began


def import_s(worker: WorkerProcess, settings: Settings, pictures: dict[str, bytes], catalogue: str) -> float:
    """Seconds from the first chunk to the last, manifest and all."""
    database = open_database(settings)
    CatalogueStore(database).create(catalogue)
    name = os.urandom(32).hex() + "-archive.zip"
    open_image_store(settings).put_stream(name, [archive(pictures)], "imports", 10**10)
    jobs = JobLedger(database)
    job = jobs.create_import(catalogue, {"archive": name}).id
    began = time.perf_counter()
    while worker.catalogue.work_one() is not None:
        pass
    spent = time.perf_counter() - began
    status = jobs.status(job)
    assert status.counts.new == len(pictures), status
    database.close()
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=960)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    paths = sorted((ROOT / "demo" / "images").glob("*"))[: args.pictures]
    pictures = {path.name: path.read_bytes() for path in paths}
    with tempfile.TemporaryDirectory() as folder:
        server = choose_embedded("auto", Path(folder) / "milvus", free_port())
        server.start()
        server.wait_ready()
        settings = Settings(data_dir=Path(folder) / "data", milvus=MilvusSettings(uri=server.uri))
        database = open_database(settings)
        migrate(database)
        database.close()
        worker = build_process(settings, Lane.CATALOGUE, "catalogue@bench")
        bare, imported = [], []
        for n in range(args.rounds):
            bare.append(bare_s(worker, settings, pictures))
            imported.append(import_s(worker, settings, pictures, f"round{n}"))
        worker.close()
        server.stop()
    results = {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "pictures": len(pictures),
        "detector": worker.pipelines.default.detector.version,
        "embedder": worker.pipelines.default.embedder.version,
        "bare_images_per_s": round(len(pictures) / min(bare), 2),
        "bulk_images_per_s": round(len(pictures) / min(imported), 2),
        "bulk_over_bare_ratio": round(
            statistics.median(b / i for b, i in zip(bare, imported, strict=True)), 3
        ),
    }
    out = ROOT / "bench" / "results" / "import.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
