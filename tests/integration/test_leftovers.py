"""A try of a chunk that ends between index and database leaves no rows that nothing refers to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from shared.database.tables import Chunk
from tests.packing import pictures
from tests.shop import Shop, reasons, shop
from worker.jobs import lane
from worker.products.manifest_source import ManifestSource

__all__ = ["shop"]

pytestmark = pytest.mark.services

PHOTOS = pictures(4)
FILES: dict[str, bytes | str] = {
    **PHOTOS,
    "products.csv": "product_id,image\np0,p0.jpg\np1,p1.jpg\np2,p2.jpg\n",
}
#: The first product with another picture.
CHANGED: dict[str, bytes | str] = {**PHOTOS, "products.csv": "product_id,image\np0,p3.jpg\n"}


def interrupt(monkeypatch: pytest.MonkeyPatch, what: Callable[[], object]) -> None:
    """Do something once, when rows are in the index and not yet in the database."""
    lock, calls = ManifestSource.lock, []

    def locked(self: ManifestSource, *args: Any) -> int:
        calls.append(1)
        if len(calls) == 1:
            what()
        return lock(self, *args)

    monkeypatch.setattr(ManifestSource, "lock", locked)


def die() -> None:
    raise RuntimeError("as a worker that is killed")


def import_that_dies(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a product another picture; the first try dies, and then the product is deleted."""
    shop.import_files(FILES)
    interrupt(monkeypatch, die)
    job = shop.accept_import(CHANGED)
    shop.work()
    shop.done(shop.jobs.create_delete("shop", ["p0"]).id)
    with shop.database.write() as session:
        session.execute(update(Chunk).where(Chunk.job_id == job).values(lease_until=0.0))
    shop.done(job)
    assert reasons(shop, job) == {"p0": "superseded"}


@pytest.mark.parametrize("shop", ["sqlite", "milvus"], indirect=True)
def test_a_redone_chunk_removes_what_a_later_deletion_won_over(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_that_dies(shop, monkeypatch)
    assert shop.rows() == 2


def test_control_without_it_the_deleted_product_stays_in_the_index(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "remove_leftovers", lambda context, claim: None)
    import_that_dies(shop, monkeypatch)
    assert shop.rows() == 3


@pytest.mark.parametrize("is_cleaned", [True, False], ids=["cleaned", "control"])
def test_a_lost_lease_takes_its_rows_along(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, is_cleaned: bool
) -> None:
    job = shop.accept_import(FILES)
    interrupt(monkeypatch, lambda: shop.jobs.cancel(job))
    if not is_cleaned:
        monkeypatch.setattr(lane, "try_to_remove_leftovers", lambda context, claim: None)
    shop.work()
    assert shop.jobs.status(job).state == "cancelled"
    assert shop.rows() == (0 if is_cleaned else 3)


def test_rows_that_another_worker_commits_beside_it_stay(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other worker wrote the same keys, and commits after they were compared."""
    job = shop.accept_import(FILES)
    interrupt(monkeypatch, lambda: shop.jobs.cancel(job))
    delete = shop.index.delete
    again: list[str] = []

    def delete_and_commit(collection: str, keys: Any) -> None:
        delete(collection, keys)
        if not again:
            again.append("begun")
            again.append(shop.import_files(FILES))
            delete(collection, keys)

    monkeypatch.setattr(shop.index, "delete", delete_and_commit)
    shop.work()
    assert len(again) == 2
    assert shop.jobs.status(again[1]).counts.new == 3
    assert shop.rows() == 3
