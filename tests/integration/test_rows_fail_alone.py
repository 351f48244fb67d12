"""One bad row among good ones: it fails at once with its reason, and a dry run says the same before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import select

from shared.database import Database
from shared.database.tables import Chunk, Feedback
from shared.errors import InvalidInput, UnknownTask
from shared.searches.repository import SearchRepository
from tests.packing import pictures
from tests.shop import Shop
from worker.vector_index.contract import IndexRow

BAD = {
    "bad-address": ("", "https://[cdn]/a.jpg"),
    "bad-label": ("", "https://" + "a" * 64 + ".example/a.jpg"),
    "bad-port": ("", "https://cdn.example:99999/a.jpg"),
    "long-category": ("ü" * 129, "p0.jpg"),
    "..": ("", "p1.jpg"),
}
GOOD = [f"good-{n}" for n in range(12)]


def manifest() -> str:
    rows = [f"{name},{category},{image}" for name, (category, image) in BAD.items()]
    rows += [f"{name},,p{n}.jpg" for n, name in enumerate(GOOD)]
    return "product_id,category,image\n" + "\n".join(rows) + "\n"


def attempts(shop: Shop, job: str) -> set[int]:
    with shop.database.read() as session:
        return set(session.scalars(select(Chunk.attempts).where(Chunk.job_id == job)))


def test_bad_rows_fail_alone_and_the_dry_run_names_them_before(shop: Shop) -> None:
    context = shop.worker.catalogue.context
    context.sources._fetcher.allowed = True
    files: dict[str, Any] = {"manifest.csv": manifest(), **pictures(len(GOOD))}
    dry = shop.import_files(files, dry_run=True)
    done = shop.import_files(files)
    for job in (dry, done):
        status = shop.jobs.status(job)
        assert status.state == "succeeded"
        assert (status.counts.new, status.counts.failed) == (len(GOOD), len(BAD))
        assert attempts(shop, job) == {1}, "nothing was tried again"
        found = {f.row: (f.reason, f.message) for f in shop.jobs.failures(job).failures}
        assert [found[row][0] for row in (2, 3, 4, 5, 6)] == [
            "invalid_input",
            "invalid_input",
            "invalid_input",
            "invalid_row",
            "invalid_product_id",
        ]
        assert "is not a web address" in found[2][1]
        assert "256 bytes" in found[5][1]
    assert shop.catalogue.get("shop").products == len(GOOD)


def test_a_row_that_the_index_refuses_fails_and_the_others_are_found(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second net: a limit that the checks on reading do not know."""
    index = shop.worker.catalogue.context.index
    taken = index.upsert

    def picky(collection: str, rows: Sequence[IndexRow]) -> None:
        if any(row.product_id == "good-5" for row in rows):
            raise InvalidInput("Milvus does not take this: a limit of a newer server.")
        taken(collection, rows)

    monkeypatch.setattr(index, "upsert", picky)
    rows = "product_id,image\n" + "".join(f"{name},p{n}.jpg\n" for n, name in enumerate(GOOD))
    job = shop.import_files({"manifest.csv": rows, **pictures(len(GOOD))})
    status = shop.jobs.status(job)
    assert (status.state, status.counts.new, status.counts.failed) == ("succeeded", len(GOOD) - 1, 1)
    (failure,) = shop.jobs.failures(job).failures
    assert (failure.product_id, failure.reason) == ("good-5", "invalid_input")
    assert "newer server" in failure.message
    assert status.report is not None
    assert status.report["reconcile"]["missing"] == 0


def test_values_that_no_column_holds_are_invalid_input(database: Database) -> None:
    ledger = SearchRepository(database)
    with pytest.raises(InvalidInput):
        ledger.query_key("a\udc00")
    with pytest.raises(InvalidInput), database.read() as session:
        session.scalar(select(Feedback.id).where(Feedback.id == 2**70))
    # SQLite finds no such row; PostgreSQL refuses the text itself.
    with pytest.raises(UnknownTask if database.is_sqlite else InvalidInput):
        ledger.query_key("a\0")
    with pytest.raises(UnknownTask):
        ledger.query_key("the control")
