"""A rebuild of an index from the database against bare writes of the same rows to Milvus, in the same run.

    python bench/bench_rebuild.py [--rows 24000] [--embedder colour-histogram]

Some thousand products are imported from a few hundred pictures, and multiplied in the database to as many
rows as wanted. The rebuild runs in this process on a real Milvus. ``rebuilt_`` is the whole job: list of
products, collection, writes, flush, comparison of every key, switch; ``writing_`` is its chunks alone.
``bare_`` writes the same rows, made before, a thousand at a time; ``bare_ready_`` counts collection and
flush too, as a rebuild has to. ``_cpu_`` is of this process, Milvus' not among it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.common import Spent, machine, spent, write_results, write_source  # noqa: E402
from cli.services.milvus import choose_embedded  # noqa: E402
from shared.broker.task_names import Lane  # noqa: E402
from shared.catalogue.store import CatalogueStore  # noqa: E402
from shared.contracts.states import JobKind  # noqa: E402
from shared.database import Database  # noqa: E402
from shared.database.bulk import insert_rows  # noqa: E402
from shared.database.migrate import migrate  # noqa: E402
from shared.database.tables import Base, Detection, Image, Product  # noqa: E402
from shared.factories import open_database  # noqa: E402
from shared.jobs.repository import JobRepository  # noqa: E402
from shared.settings import JobSettings, MilvusSettings, ModelSettings, Settings  # noqa: E402
from tests.servers import free_port  # noqa: E402
from worker.indexes.stored_rows import rows_of_products  # noqa: E402
from worker.indexes.versions import live_index  # noqa: E402
from worker.process import WorkerProcess, build_process  # noqa: E402

IMPORTED = 1000
AT_ONCE = 1000


def fill(worker: WorkerProcess, database: Database, source: Path, rows: int) -> None:
    """Import products, and multiply them in the database."""
    jobs = JobRepository(database)
    job = jobs.create_import("shop", {"path": str(source)}).id
    while worker.catalogue.work_one() is not None:
        pass
    assert jobs.status(job).counts.new == IMPORTED, jobs.status(job)
    with database.write() as session:
        multiply(session, rows)


def multiply(session: Session, rows: int) -> None:
    """Give the only catalogue, which has one row of the index a product, so many."""
    query = (
        select(Product, Image, Detection)
        .join(Image, Image.product == Product.id)
        .join(Detection, Detection.image_id == Image.id)
    )
    found = session.execute(query).all()
    assert len(found) == IMPORTED
    first = (session.scalar(select(func.max(Product.id))) or 0) + 1
    new: dict[type[Base], list[dict[str, Any]]] = {Product: [], Image: [], Detection: []}
    for n in range(rows - len(found)):
        product, image, seen = found[n % len(found)]
        image_id = f"{n:032x}"
        new[Product].append(values(product) | {"id": first + n, "product_id": f"more-{n}"})
        new[Image].append(values(image) | {"id": image_id, "product": first + n})
        new[Detection].append(values(seen) | {"image_id": image_id})
    for table, records in new.items():
        insert_rows(session, table, records)


def values(record: Base) -> dict[str, Any]:
    return {column.key: getattr(record, column.key) for column in type(record).__table__.columns}


def rebuilt(worker: WorkerProcess, database: Database, rows: int) -> list[Spent]:
    """What it takes to write the catalogue's index anew: the plan, each chunk, and the end."""
    jobs = JobRepository(database)
    job = jobs.create(JobKind.REBUILD, "shop").id
    turns: list[Spent] = []
    while jobs.status(job).state in ("queued", "running"):
        turns.append(spent(worker.catalogue.work_one))
    status = jobs.status(job)
    assert status.state == "succeeded", status
    assert status.report is not None
    assert status.report["reconcile"]["found"] == rows, status.report
    assert status.report["reconcile"]["missing"] == status.report["reconcile"]["orphans"] == 0, status.report
    return turns


def bare(worker: WorkerProcess, database: Database) -> tuple[Spent, Spent]:
    """What Milvus takes for the same rows; and with collection and flush."""
    with database.read() as session:
        live = live_index(session, 1)
        assert live is not None
        ids = session.scalars(select(Product.product_id)).all()
        rows = [
            row
            for start in range(0, len(ids), AT_ONCE)
            for row in rows_of_products(session, 1, live.id, ids[start : start + AT_ONCE]).rows
        ]
    written: list[Spent] = []

    def write() -> None:
        for start in range(0, len(rows), AT_ONCE):
            worker.index.upsert("bare", rows[start : start + AT_ONCE])

    def run() -> None:
        worker.index.create("bare", live.dim)
        written.append(spent(write))
        worker.index.flush("bare")

    ready = spent(run)
    return ready, written[0]


def measure(folder: Path, rows: int, embedder: str) -> dict[str, object]:
    write_source(folder / "source", IMPORTED)
    server = choose_embedded("auto", folder / "milvus", free_port())
    server.start()
    try:
        server.wait_ready()
        settings = Settings(
            data_dir=folder / "data",
            milvus=MilvusSettings(uri=server.uri),
            jobs=JobSettings(import_roots=(str(folder / "source"),)),
            models=ModelSettings(detector="none", embedder=embedder),
        )
        database = open_database(settings)
        migrate(database)
        CatalogueStore(database).create("shop")
        worker = build_process(settings, Lane.CATALOGUE, "catalogue@bench")
        dim = worker.pipelines.default.embedder.dim
        fill(worker, database, folder / "source", rows)
        turns = rebuilt(worker, database, rows)
        ready, written = bare(worker, database)
        worker.close()
        database.close()
    finally:
        server.stop()
    return {
        "rows": rows,
        "dim": dim,
        "chunks": len(turns) - 2,
        "rebuilt_rows_per_s": round(rows / sum(t.clock_s for t in turns)),
        "rebuilt_cpu_ms_per_row": round(1000 * sum(t.cpu_s for t in turns) / rows, 3),
        "plan_s": round(turns[0].clock_s, 2),
        "end_s": round(turns[-1].clock_s, 2),
        "writing_rows_per_s": round(rows / sum(t.clock_s for t in turns[1:-1])),
        "bare_rows_per_s": round(rows / written.clock_s),
        "bare_cpu_ms_per_row": round(1000 * written.cpu_s / rows, 3),
        "bare_ready_rows_per_s": round(rows / ready.clock_s),
        "writing_over_bare_ratio": round(written.clock_s / sum(t.clock_s for t in turns[1:-1]), 3),
        "rebuilt_over_bare_ready_ratio": round(ready.clock_s / sum(t.clock_s for t in turns), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=24_000)
    parser.add_argument("--embedder", default="colour-histogram")
    args = parser.parse_args()
    before = machine()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), args.rows, args.embedder)
    write_results(ROOT / "bench" / "results" / "rebuild.json", {**before, **found})


if __name__ == "__main__":
    main()
