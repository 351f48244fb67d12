"""The proof at the end of a job: what differs between catalogue and index is found, named and mended."""

from __future__ import annotations

import gc
import tracemalloc
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert, select, update

from shared.contracts import JobOut, ProductIn
from shared.contracts.states import JobKind
from shared.database.clock import now_s
from shared.database.tables import Chunk, Detection, Image
from shared.jobs.queue import JobQueue
from shared.jobs.work import Outcome
from tests import builders
from tests.packing import pictures
from tests.servers import patiently
from tests.shop import Shop, found
from worker.indexes.expected_rows import expected_keys
from worker.vector_index.contract import IndexRow

pytestmark = pytest.mark.slow

BOTH = pytest.mark.parametrize("shop", ["sqlite", "postgresql"], indirect=True)


def keys(shop: Shop) -> list[str]:
    return list(expected_keys(shop.worker.database, shop.live().id))


def orphan(shop: Shop, key: str) -> IndexRow:
    embedding = np.zeros(shop.live().dim, np.float32)
    embedding[0] = 1
    return IndexRow(key, "nobody", key.rpartition("-")[0], 0, "", 1.0, embedding)


def leave_orphan(shop: Shop) -> None:
    place, row = shop.live().collection, orphan(shop, "a-0")
    patiently("the row is written", lambda: shop.worker.index.upsert(place, [row]))


def reconcile(shop: Shop, repair: bool = False) -> JobOut:
    done = shop.done(shop.jobs.create(JobKind.RECONCILE, "shop", {"repair": repair}).id)
    assert done.state == "succeeded", done
    return done


def proof(job: JobOut) -> dict[str, Any]:
    assert job.report is not None
    found: dict[str, Any] = job.report["reconcile"]
    return found


@pytest.mark.parametrize("shop", ["sqlite", "postgresql", "milvus"], indirect=True)
def test_missing_and_orphan_rows_are_named_and_mended_from_the_database(shop: Shop) -> None:
    shop.import_files(dict(pictures(12)))
    index, place = shop.worker.index, shop.live().collection
    lost, strangers = keys(shop)[2:5], ["0" * 32 + "-0", "f" * 32 + "-10", "zz_9"]
    photos = pictures(12)
    index.delete(place, lost)
    index.upsert(place, [orphan(shop, key) for key in strangers])

    told = proof(reconcile(shop))
    assert told == {
        "scope": "all",
        "expected": 12,
        "found": 12,
        "missing": 3,
        "orphans": 3,
        "missing_keys": lost,
        "orphan_keys": strangers,
        "repaired": False,
    }
    assert index.count(place) == 12, "nothing is changed unless asked"

    mended = proof(reconcile(shop, repair=True))
    assert (mended["missing"], mended["orphans"], mended["repaired"]) == (3, 3, True)
    assert set(index.sorted_keys(place)) == set(keys(shop))
    for name, photo in photos.items():
        assert found(shop.search(photo))[0] == name.partition(".")[0], "a mended row is found as before"
    clean = proof(reconcile(shop))
    assert (clean["missing"], clean["orphans"], clean["repaired"], clean["found"]) == (0, 0, False, 12)


def test_an_import_after_which_products_cannot_be_found_fails_and_says_what_to_do(shop: Shop) -> None:
    shop.import_files(dict(pictures(6)))
    shop.worker.index.delete(shop.live().collection, keys(shop)[:2])
    job = shop.jobs.status(shop.import_files(dict(pictures(6))))
    assert (job.state, job.counts.unchanged) == ("failed", 6)
    assert job.error is not None
    assert job.error.code == "index_incomplete"
    assert "vitrine reconcile shop --repair" in job.error.message
    assert proof(job)["missing"] == 2
    mended = shop.jobs.status(shop.import_files(dict(pictures(6)), repair=True))
    assert (mended.state, proof(mended)["repaired"]) == ("succeeded", True)
    assert shop.rows() == 6


def test_orphans_alone_are_reported_and_fail_nothing(shop: Shop) -> None:
    shop.import_files(dict(pictures(3)))
    leave_orphan(shop)
    job = shop.jobs.status(shop.import_files(dict(pictures(3))))
    assert (job.state, proof(job)["orphan_keys"]) == ("succeeded", ["a-0"])
    assert "nobody" not in found(shop.search(pictures(1)["p0.jpg"], top_k=10))


def test_a_small_import_proves_only_its_own_rows(shop: Shop) -> None:
    shop.import_files(dict(pictures(40)))
    index, place = shop.worker.index, shop.live().collection
    own = builders.jpeg(seed=99)
    # Somebody else's row is missing: a small import neither looks at it nor answers for it.
    index.delete(place, keys(shop)[:1])
    small = shop.jobs.status(shop.import_files({"fresh.jpg": own}))
    assert small.state == "succeeded", small
    assert (proof(small)["scope"], proof(small)["expected"], proof(small)["found"]) == ("job", 1, 1)
    assert proof(reconcile(shop))["missing"] == 1


@pytest.mark.parametrize("waits", [True, False], ids=["", "control: without waiting"])
def test_what_is_on_its_way_from_another_worker_is_no_orphan(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    """Another worker has written to Milvus, and commits to the database while suspects are looked at."""
    shop.import_files(dict(pictures(3)))
    index, place = shop.worker.index, shop.live().collection
    other = JobQueue(shop.worker.database, "other", 60.0, 4, 4)
    job = shop.accept_import({"late.jpg": pictures(1)["p0.jpg"]})
    shop.worker.catalogue.work_one()
    claim = other.claim()
    assert claim is not None
    assert claim.stage == "items"
    image = "5" * 32
    index.upsert(place, [orphan(shop, f"{image}-0")])
    looks: list[int] = []
    elsewhere = JobQueue.read_concurrent_chunks

    def commit_at_the_third_look(desk: JobQueue, catalogue_id: int) -> dict[str, tuple[int, int]]:
        looks.append(1)
        if len(looks) == 3:
            with shop.worker.database.write() as session:
                copy_an_image(session, image)
                other.record(session, claim, [Outcome(item, "new") for item in other.items(claim)])
        return elsewhere(desk, catalogue_id) if waits else {}

    monkeypatch.setattr(JobQueue, "read_concurrent_chunks", commit_at_the_third_look)
    told = proof(reconcile_while_held(shop, job, repair=False))
    assert (told["orphans"], told["missing"]) == (0 if waits else 1, 0)


def copy_an_image(session: Any, image_id: str) -> None:
    """Give the first product another picture, whose object is that of its first one."""
    first = session.scalars(select(Image).limit(1)).one()
    session.add(Image(id=image_id, product=first.product, position=9, sha256="5" * 64, width=9, height=9))
    session.flush()
    seen = session.scalars(select(Detection).where(Detection.image_id == first.id)).one()
    values = {c.name: getattr(seen, c.name) for c in Detection.__table__.columns}
    session.add(Detection(**{**values, "image_id": image_id}))


def reconcile_while_held(shop: Shop, held: str, repair: bool) -> JobOut:
    """Reconcile while another worker keeps a job of the same catalogue."""
    job = shop.jobs.create(JobKind.RECONCILE, "shop", {"repair": repair}).id
    shop.work()
    assert shop.jobs.status(held).state == "running"
    done = shop.jobs.status(job)
    assert done.state == "succeeded", done
    return done


def test_a_lost_worker_is_not_waited_for_longer_than_its_lease(shop: Shop) -> None:
    shop.import_files(dict(pictures(3)))
    leave_orphan(shop)
    other = JobQueue(shop.worker.database, "other", 60.0, 4, 4)
    held = shop.accept_import({"late.jpg": pictures(1)["p0.jpg"]})
    shop.worker.catalogue.work_one()
    claim = other.claim()
    assert claim is not None
    with shop.worker.database.write() as session:
        session.execute(update(Chunk).where(Chunk.id == claim.id).values(lease_until=now_s() - 1))
    job = shop.jobs.create(JobKind.RECONCILE, "shop", {"repair": True}).id
    other.sweep()
    shop.work()
    assert proof(shop.jobs.status(job))["repaired"] is True
    assert shop.jobs.status(held).state == "succeeded", "and its work was done by this one"


def test_a_product_put_in_the_middle_of_a_comparison_goes_first(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.import_files(dict(pictures(8)))
    monkeypatch.setattr("worker.jobs.heartbeat._INTERVAL_S", 0.0)
    put: list[str] = []
    keyed = type(shop.worker.index).sorted_keys

    def put_after_three(self: Any, *args: Any) -> Any:
        for n, key in enumerate(keyed(self, *args)):
            if n == 3 and not put:
                photo = shop.store.put(builders.jpeg(seed=60), "images")
                put.append(shop.jobs.create_put("shop", "by-hand", ProductIn(), [photo]).id)
            yield key

    monkeypatch.setattr(type(shop.worker.index), "sorted_keys", put_after_three)
    job = shop.jobs.create(JobKind.RECONCILE, "shop", {"repair": True}).id
    shop.work()
    done, urgent = shop.jobs.status(job), shop.jobs.status(put[0])
    assert done.state == urgent.state == "succeeded"
    assert done.finished_at is not None
    assert urgent.finished_at is not None
    assert urgent.finished_at < done.finished_at
    assert proof(done)["missing"] == proof(done)["orphans"] == 0
    assert shop.rows() == 9


@BOTH
def test_keys_of_the_database_come_in_the_order_of_their_bytes_over_any_pages(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.import_files(dict(pictures(6)))
    version = shop.live().id
    with shop.worker.database.write() as session:
        for seen in session.scalars(select(Detection)).all():
            values = {c.name: getattr(seen, c.name) for c in Detection.__table__.columns}
            session.add_all(Detection(**{**values, "number": n}) for n in (*range(1, 12), 255))
    want = sorted(keys(shop))
    assert len(want) == 6 * 13
    for page in (13, 14, 20, 50, 5000):
        monkeypatch.setattr("worker.indexes.expected_rows._PAGE_ROWS", page)
        assert keys(shop) == want
        assert all(a < b for a, b in pairwise(keys(shop)))
    assert list(expected_keys(shop.worker.database, version + 1)) == []


def test_listing_the_catalogue_takes_no_more_memory_for_ten_times_the_rows(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.import_files(dict(pictures(1)))
    version = shop.live().id
    monkeypatch.setattr("worker.indexes.expected_rows._PAGE_ROWS", 100)
    with shop.worker.database.write() as session:
        seen = session.scalars(select(Detection)).one()
        values = {c.name: getattr(seen, c.name) for c in Detection.__table__.columns}

    def listed_at_peak() -> tuple[int, int]:
        # Each page leaves sessions in reference cycles: what only waits for the collector is not held.
        # Frozen, the rest of the process is not searched each time.
        gc.collect()
        gc.freeze()
        tracemalloc.start()
        count = 0
        for count, _ in enumerate(expected_keys(shop.worker.database, version), 1):
            if count % 50 == 0:
                gc.collect()
        peak = tracemalloc.get_traced_memory()[1]
        gc.unfreeze()
        tracemalloc.stop()
        return count, peak

    peaks = []
    for first, last in ((1, 500), (500, 5_000)):
        # Each of its own image, as in a catalogue.
        with shop.worker.database.write() as session:
            product = session.scalars(select(Image.product)).first()
            rows = [
                {"id": f"{n:032x}", "product": product, "position": n, "sha256": "", "width": 1, "height": 1}
                for n in range(first, last)
            ]
            session.execute(insert(Image), rows)
            session.execute(insert(Detection), [{**values, "image_id": row["id"]} for row in rows])
        # The process has other threads, which allocate now and then: the least of some runs counts.
        runs = [listed_at_peak() for _ in range(3)]
        assert {count for count, _ in runs} == {last}
        peaks.append(min(peak for _, peak in runs))
    assert peaks[1] < 1.5 * peaks[0]
