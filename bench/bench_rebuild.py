"""Compare a rebuild of an index from the database with bare writes of the same rows to Milvus.

    python bench/bench_rebuild.py [--rows 24000] [--embedder colour-histogram]

A thousand products are imported from a few hundred pictures, and replicated in the database to the given
number of rows. The rebuild runs in this process on a real Milvus. ``rebuilt_`` is the whole job: list of
products, collection, writes, flush, comparison of all keys, switch; ``writing_`` is its chunks alone.
``bare_`` writes the same prepared rows, a thousand at a time; ``bare_ready_`` includes collection and flush,
which a rebuild needs. ``_cpu_`` is of this process, without Milvus.
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

#: Products that are imported.
IMPORTED = 1000
#: Rows per bare write.
BATCH_ROWS = 1000


def fill(worker: WorkerProcess, database: Database, source: Path, rows: int) -> None:
    """Import products, and replicate them in the database."""
    jobs = JobRepository(database)
    job = jobs.create_import("shop", {"path": str(source)}).id
    while worker.catalogue.work_one() is not None:
        pass
    assert jobs.status(job).counts.new == IMPORTED, jobs.status(job)
    with database.write() as session:
        replicate(session, rows)


def replicate(session: Session, rows: int) -> None:
    """Replicate the products of the only catalogue, which have one row each, to ``rows`` rows."""
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
        product, image, detection = found[n % len(found)]
        image_id = f"{n:032x}"
        new[Product].append(to_values(product) | {"id": first + n, "product_id": f"more-{n}"})
        new[Image].append(to_values(image) | {"id": image_id, "product": first + n})
        new[Detection].append(to_values(detection) | {"image_id": image_id})
    for table, records in new.items():
        insert_rows(session, table, records)


def to_values(record: Base) -> dict[str, Any]:
    """Return the columns of a row."""
    return {column.key: getattr(record, column.key) for column in type(record).__table__.columns}


def run_rebuild(worker: WorkerProcess, database: Database, rows: int) -> list[Spent]:
    """Rebuild the catalogue's index; return the durations of the plan, of each chunk and of the end."""
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


def run_bare(worker: WorkerProcess, database: Database) -> tuple[Spent, Spent]:
    """Write the same rows; return the duration with collection and flush, and without."""
    with database.read() as session:
        live = live_index(session, 1)
        assert live is not None
        ids = session.scalars(select(Product.product_id)).all()
        rows = [
            row
            for start in range(0, len(ids), BATCH_ROWS)
            for row in rows_of_products(session, 1, live.id, ids[start : start + BATCH_ROWS]).rows
        ]
    written: list[Spent] = []

    def write() -> None:
        for start in range(0, len(rows), BATCH_ROWS):
            worker.index.upsert("bare", rows[start : start + BATCH_ROWS])

    def run() -> None:
        worker.index.create("bare", live.dim)
        written.append(spent(write))
        worker.index.flush("bare")

    ready = spent(run)
    return ready, written[0]


def measure(folder: Path, rows: int, embedder: str) -> dict[str, object]:
    """Measure rebuild and bare writes on a new Milvus."""
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
        turns = run_rebuild(worker, database, rows)
        ready, written = run_bare(worker, database)
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
    """Measure and write the results."""
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
