"""Compare a bulk import with a bare loop over the same pictures, in the same run.

    python bench/bench_import.py [--pictures 2400] [--rounds 1] [--copies 3000]

The bare loop reads, decodes, detects and embeds in the same micro-batches, without queue, database, image
store and index. The import runs the catalogue lane in this process, with the same models, on a real Milvus,
and on a new database and image store in each round. They alternate by chunk, every few seconds, so that other
work on the machine slows both equally. Manifest, comparison and creation of the collection count for the
import. ``_cpu_`` figures are processor seconds of this process, without Milvus, and hold on a busy machine
too.

Then the same pictures are imported into a second catalogue under many new product ids, where embeddings of
equal content are copied.
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


def run_bare(worker: WorkerProcess, settings: Settings, data: Sequence[bytes]) -> Spent:
    """Measure decoding, detecting and embedding alone."""
    limits, size = image_limits(settings, catalogue=True), settings.models.micro_batch

    def run() -> None:
        for start in range(0, len(data), size):
            worker.pipelines.default.embed_catalogue(
                [decode(d, limits, SIDE_NEEDED_PX) for d in data[start : start + size]]
            )

    return spent(run)


def alternate(
    worker: WorkerProcess, settings: Settings, pictures: dict[str, bytes]
) -> tuple[list[Spent], list[Spent]]:
    """Alternate between import and bare loop; return the durations of the turns of both.

    The import's first turn is the plan, its last the comparison; the bare loop has one per chunk.
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
            alone.append(run_bare(worker, settings, data[start : start + size]))
    status = jobs.status(job)
    assert status.counts.new == len(pictures), status
    database.close()
    return alone, turns


def accept(
    database: Database, settings: Settings, files: Mapping[str, bytes | str], catalogue: str
) -> tuple[JobRepository, str]:
    """Accept an import of the files without working on it."""
    CatalogueStore(database).create(catalogue)
    name = os.urandom(32).hex() + "-archive.zip"
    open_image_store(settings).put_stream(name, [archive(files)], "imports", 10**10)
    jobs = JobRepository(database)
    return jobs, jobs.create_import(catalogue, {"archive": name}).id


def run_import(
    worker: WorkerProcess, settings: Settings, files: Mapping[str, bytes | str], catalogue: str, products: int
) -> Spent:
    """Measure an import from its first chunk to its last, manifest and comparison included."""
    database = open_database(settings)
    jobs, job = accept(database, settings, files, catalogue)
    took = spent(lambda: finish_work(worker))
    status = jobs.status(job)
    assert status.counts.new == products, status
    database.close()
    return took


def finish_work(worker: WorkerProcess) -> None:
    """Work until the queue is empty."""
    while worker.catalogue.work_one() is not None:
        pass


def fresh_round(settings: Settings, folder: Path, number: int) -> Settings:
    """Return the settings of a round: the same models, and its own database, image store and collections."""
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
    """Return the pictures with a manifest of ``count`` products that share them."""
    names = list(pictures)
    rows = [f"copy-{n},{names[n % len(names)]}" for n in range(count)]
    return {**pictures, "products.csv": "\n".join(["product_id,images", *rows])}


def load_pictures(count: int) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Load the demo's pictures, then mirrored ones, and a few others for the warm-up."""
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
            # One-time work of a process counts for neither.
            run_import(worker, settings, others, "warm-up", len(others))
            run_bare(worker, settings, list(others.values()))
            bare_turns, import_turns = alternate(worker, settings, pictures)
            alone += bare_turns
            bulk += import_turns
            # Without the plan, and without the last chunk, which is short.
            chunks = import_turns[1 : len(bare_turns)]
            pairs += [b.clock_s / i.clock_s for b, i in zip(bare_turns, chunks, strict=False)]
            if number + 1 < rounds:
                worker.close()
        copying = run_import(worker, settings, copies(pictures, copied), "copies", copied)
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
        "copied_products_per_s": round(copied / copying.clock_s, 1),
        "copied_cpu_ms_per_product": round(1000 * copying.cpu_s / copied, 2),
    }


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=2400)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--copies", type=int, default=3000)
    args = parser.parse_args()
    pictures, others = load_pictures(args.pictures)
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
