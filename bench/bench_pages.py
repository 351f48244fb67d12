"""Measure pages, statements of searches and batches, and statistics on a large catalogue in SQLite.

Each is measured with the schema as it is, and with that of version 0.2: other indexes, no statistics. Pages
are requested from the application in this process, twice: ``first`` counts the catalogue, ``again`` does not.

    python bench/bench_pages.py --products 200000
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.common import machine, percentile, write_results
from shared.database import Database
from shared.database.migrate import migrate
from shared.database.statistics import refresh_statistics
from shared.retention.job_rows import JobRowSweeper
from shared.settings import Settings
from tests.large_catalogue import create_catalogue, fill, product_id
from web.app import create_app
from worker.indexes.expected_rows import expected_keys
from worker.indexes.stored_rows import rows_of_products
from worker.search.candidates import CandidateTable, load_product_pictures
from worker.search.stages import Candidate

PAGES = {
    "home": "/?catalogue=large",
    "status": "/v1/status",
    "catalogues": "/v1/catalogues",
    "manage": "/manage",
    "manage_catalogue": "/manage/catalogues/large",
    "operations": "/operations",
    "indexes": "/v1/catalogues/large/indexes",
    "products": "/manage/catalogues/large/products",
    "products_found": "/manage/catalogues/large/products?q=number+77",
    "products_absent": "/manage/catalogues/large/products?q=zebra",
    "jobs": "/v1/jobs",
}
_REPEATS = 9


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--products", type=int, default=200_000)
    parser.add_argument("--out", type=Path, default=Path("bench/results/pages.json"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vitrine-pages-") as folder:
        write_results(arguments.out, {**machine(), **measure(Path(folder), arguments.products)})


def measure(folder: Path, products: int) -> dict[str, Any]:
    """Return milliseconds by what was measured."""
    settings = Settings(data_dir=folder)
    database = Database(settings.database_url)
    migrate(database)
    create_catalogue(database)
    fill(database, products, job_items=products, searches=20_000)
    began = time.perf_counter()
    refresh_statistics(database)
    found: dict[str, Any] = {"products": products, "statistics_ms": _ms(time.perf_counter() - began)}
    found |= {f"statement_{name}_ms": value for name, value in _statements(database, products).items()}
    found |= {f"page_{name}_ms": value for name, value in _pages(settings).items()}
    began = time.perf_counter()
    found["job_rows_deleted"] = JobRowSweeper(database, 0.0).sweep(10 * products)
    found["job_rows_per_s"] = round(found["job_rows_deleted"] / (time.perf_counter() - began))
    _restore_old_schema(database)
    again = Database(settings.database_url)
    found |= {f"old_statement_{name}_ms": value for name, value in _statements(again, products).items()}
    found |= {f"old_page_{name}_ms": value for name, value in _pages(settings).items()}
    return found


def _statements(database: Database, products: int) -> dict[str, float]:
    step = max(products // 512, 1)
    ids = [product_id(1 + n * step) for n in range(512)]
    images = [f"{((1 + n * step) * 2654435761) % 4294967296:032x}" for n in range(40)]
    hits = [Candidate(p, i, 0, 1.0, 0, 0, 1.0) for p, i in zip(ids, images, strict=False)]

    def rebuild_batch() -> None:
        with database.read() as session:
            assert len(rows_of_products(session, 1, 1, ids).rows) == len(ids)

    return {
        "hydrate_40": _median(lambda: CandidateTable(database, 1, 1, "EUR", filtered=False).load(hits)),
        "similar": _median(lambda: load_product_pictures(database, 1, 1, ids[:1])),
        "rebuild_512": _median(rebuild_batch, 3),
        "keys_15000": _median(lambda: list(islice(expected_keys(database, 1), 15_000)), 3),
    }


def _pages(settings: Settings) -> dict[str, float]:
    client = create_app(settings).test_client()
    found = {}
    for name, address in PAGES.items():
        for turn in ("first", "again"):
            began = time.perf_counter()
            answer = client.get(address)
            found[f"{name}_{turn}"] = _ms(time.perf_counter() - began)
            assert answer.status_code in (200, 503), (address, answer.status_code)
    return found


def _restore_old_schema(database: Database) -> None:
    with database.write_connection() as connection:
        for statement in (
            "DROP INDEX ix_detections_of_version",
            "DROP INDEX ix_products_of_catalogue",
            "CREATE INDEX ix_detections_index_version ON detections (index_version)",
            "DROP TABLE sqlite_stat1",
        ):
            connection.exec_driver_sql(statement)


def _median(work: Callable[[], object], repeats: int = _REPEATS) -> float:
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return _ms(percentile(taken, 0.5, 6))


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)


if __name__ == "__main__":
    main()
