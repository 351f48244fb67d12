"""Bulk import against a bare loop over the same pictures, in the same run.

    python bench/bench_import.py [--pictures 2400] [--rounds 1] [--copies 3000]

The bare loop reads, decodes, detects and embeds in the same micro-batches, with no queue, no database, no
image store and no index. The import runs the catalogue lane on a real Milvus, and on a database and image
store that are new in each round, in this process, so that both have the same models. They take turns chunk
by chunk, every few seconds, so that whatever else the machine does falls on both alike; manifest, proof and
the making of the collection count for the import. ``_cpu_`` is of processor seconds of this process, Milvus'
not among them: it also holds where others work on the machine.

Then the same pictures go into a second catalogue under many new product ids, where equal content is copied
instead of embedded.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps
from pydantic import SecretStr

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.common import Spent, machine, spent, write_results  # noqa: E402
from cli.services.milvus import choose_embedded  # noqa: E402
from shared.broker.task_names import Lane  # noqa: E402
from shared.catalogue.store import CatalogueStore  # noqa: E402
from shared.database import Database  # noqa: E402
from shared.database.migrate import migrate  # noqa: E402
from shared.factories import image_limits, open_database, open_image_store  # noqa: E402
from shared.images import decode  # noqa: E402
from shared.jobs.repository import JobRepository  # noqa: E402
from shared.settings import DatabaseSettings, ImageSettings, MilvusSettings, Settings  # noqa: E402
from tests.packing import archive  # noqa: E402
from tests.servers import free_port  # noqa: E402
from worker.process import WorkerProcess, build_process  # noqa: E402

SIDE_NEEDED_PX = 640


def bare(worker: WorkerProcess, settings: Settings, data: Sequence[bytes]) -> Spent:
    """What decoding, detecting and embedding alone take."""
    limits, size = image_limits(settings, catalogue=True), settings.models.micro_batch

    def run() -> None:
        for start in range(0, len(data), size):
            worker.pipelines.default.embed_catalogue(
                [decode(d, limits, SIDE_NEEDED_PX) for d in data[start : start + size]]
            )

    return spent(run)


def by_turns(
    worker: WorkerProcess, settings: Settings, pictures: dict[str, bytes]
) -> tuple[list[Spent], list[Spent]]:
    """Import the pictures, and embed them bare in between; return what each turn of each took.

    The import's first turn is the plan, its last the proof; the bare loop has one a chunk.
    """
    database = open_database(settings)
    jobs, job = accept(database, settings, pictures, "shop")
    data, size = list(pictures.values()), settings.jobs.chunk_items
    alone: list[Spent] = []
    turns: list[Spent] = []
    more = [True]

    def work_one() -> None:
        more.append(worker.catalogue.work_one() is not None)

    while more[-1]:
        turns.append(spent(work_one))
        start = len(alone) * size
        if start < len(data):
            alone.append(bare(worker, settings, data[start : start + size]))
    status = jobs.status(job)
    assert status.counts.new == len(pictures), status
    database.close()
    return alone, turns


def accept(
    database: Database, settings: Settings, files: Mapping[str, bytes | str], catalogue: str
) -> tuple[JobRepository, str]:
    """Accept an import of the files that nobody works on yet."""
    CatalogueStore(database).create(catalogue)
    name = os.urandom(32).hex() + "-archive.zip"
    open_image_store(settings).put_stream(name, [archive(files)], "imports", 10**10)
    jobs = JobRepository(database)
    return jobs, jobs.create_import(catalogue, {"archive": name}).id


def imported(
    worker: WorkerProcess, settings: Settings, files: Mapping[str, bytes | str], catalogue: str, products: int
) -> Spent:
    """What an import takes from its first chunk to its last, manifest, proof and all."""
    database = open_database(settings)
    jobs, job = accept(database, settings, files, catalogue)
    took = spent(lambda: finish_work(worker))
    status = jobs.status(job)
    assert status.counts.new == products, status
    database.close()
    return took


def finish_work(worker: WorkerProcess) -> None:
    while worker.catalogue.work_one() is not None:
        pass


def fresh_round(settings: Settings, folder: Path, number: int) -> Settings:
    """Settings of a round: a database, image store and collections of its own, the same models."""
    changed = settings.model_copy(
        update={
            "database": DatabaseSettings(url=SecretStr(f"sqlite:///{folder}/round{number}.sqlite3")),
            "images": ImageSettings(url=(folder / f"images{number}").as_uri()),
            "milvus": MilvusSettings(uri=settings.milvus_uri, prefix=f"round{number}"),
        }
    )
    database = open_database(changed)
    migrate(database)
    database.close()
    return changed


def copies(pictures: dict[str, bytes], count: int) -> dict[str, bytes | str]:
    """The pictures with a manifest that gives them to so many products."""
    names = list(pictures)
    rows = [f"copy-{n},{names[n % len(names)]}" for n in range(count)]
    return {**pictures, "products.csv": "\n".join(["product_id,images", *rows])}


def taken(count: int) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The demo's pictures, then the same mirrored, and a few others to warm up with."""
    paths = sorted((ROOT / "demo" / "images").glob("*"))
    others = {path.name: path.read_bytes() for path in paths[-16:]}
    pictures = {path.name: path.read_bytes() for path in paths[:-16][:count]}
    for path in paths[: count - len(pictures)]:
        mirrored = BytesIO()
        with Image.open(path) as picture:
            ImageOps.mirror(picture.convert("RGB")).save(mirrored, "JPEG", quality=90)
        pictures[f"mirrored-{path.stem}.jpg"] = mirrored.getvalue()
    return pictures, others


def measure(
    folder: Path, pictures: dict[str, bytes], others: dict[str, bytes], rounds: int, copied: int
) -> dict[str, object]:
    server = choose_embedded("auto", folder / "milvus", free_port())
    server.start()
    try:
        server.wait_ready()
        base = Settings(data_dir=folder / "data", milvus=MilvusSettings(uri=server.uri))
        alone: list[Spent] = []
        bulk: list[Spent] = []
        pairs: list[float] = []
        for number in range(rounds):
            settings = fresh_round(base, folder, number)
            worker = build_process(settings, Lane.CATALOGUE, "catalogue@bench")
            # What a process does once belongs to neither.
            imported(worker, settings, others, "warm-up", len(others))
            bare(worker, settings, list(others.values()))
            bare_turns, import_turns = by_turns(worker, settings, pictures)
            alone += bare_turns
            bulk += import_turns
            # Without the plan, and without the last chunk, which is a short one.
            chunks = import_turns[1 : len(bare_turns)]
            pairs += [b.clock_s / i.clock_s for b, i in zip(bare_turns, chunks, strict=False)]
            if number + 1 < rounds:
                worker.close()
        again = imported(worker, settings, copies(pictures, copied), "copies", copied)
        worker.close()
    finally:
        server.stop()
    count = rounds * len(pictures)
    return {
        "detector": worker.pipelines.default.detector.version,
        "embedder": worker.pipelines.default.embedder.version,
        "bare_images_per_s": round(count / sum(t.clock_s for t in alone), 2),
        "bulk_images_per_s": round(count / sum(t.clock_s for t in bulk), 2),
        "bulk_over_bare_ratio": round(sum(t.clock_s for t in alone) / sum(t.clock_s for t in bulk), 3),
        "bulk_over_bare_chunk_p50_ratio": round(statistics.median(pairs), 3),
        "bulk_over_bare_chunk_min_ratio": round(min(pairs), 3),
        "bulk_over_bare_chunk_max_ratio": round(max(pairs), 3),
        "bulk_over_bare_cpu_ratio": round(sum(t.cpu_s for t in alone) / sum(t.cpu_s for t in bulk), 3),
        "bare_cpu_ms_per_image": round(1000 * sum(t.cpu_s for t in alone) / count, 2),
        "bulk_cpu_ms_per_image": round(1000 * sum(t.cpu_s for t in bulk) / count, 2),
        "copied_products_per_s": round(copied / again.clock_s, 1),
        "copied_cpu_ms_per_product": round(1000 * again.cpu_s / copied, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=2400)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--copies", type=int, default=3000)
    args = parser.parse_args()
    pictures, others = taken(args.pictures)
    before = machine()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), pictures, others, args.rounds, args.copies)
    results = {
        **before,
        "pictures": len(pictures),
        "rounds": args.rounds,
        "copies": args.copies,
        **found,
    }
    write_results(ROOT / "bench" / "results" / "import.json", results)


if __name__ == "__main__":
    main()
