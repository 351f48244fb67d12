"""Calibrations that nobody asked for: once, when there is a reason, and by one of several that look."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from shared.catalogue import automatic_calibration as refreshing
from shared.catalogue.automatic_calibration import CalibrationScheduler
from shared.catalogue.indexes import IndexRepository
from shared.contracts import JobOut, ProductIn
from shared.contracts.indexes import PromoteRequest, ReprocessRequest
from shared.database.catalogue_rows import find_catalogue
from shared.database.clock import now_s
from shared.database.tables import Calibration, IndexVersionRow, Job
from shared.settings import CalibrationSettings
from tests import builders
from tests.shop import NEW, Shop
from worker.maintenance.sweeper import build_sweeper

pytestmark = pytest.mark.slow

PRODUCTS, SHARE = 12, 0.25


def goods(numbers: range, prefix: str = "") -> dict[str, bytes | str]:
    """Products with a picture each; another prefix gives them other pictures."""
    rows = ["product_id,title,images", *(f"p{n},Thing {prefix}{n},{prefix}p{n}.jpg" for n in numbers)]
    pictures = {f"{prefix}p{n}.jpg": builders.jpeg(seed=n + 1000 * len(prefix)) for n in numbers}
    return {**pictures, "manifest.csv": "\n".join(rows)}


def look(shop: Shop, least: int = PRODUCTS) -> list[str]:
    """As a maintenance process that just began does it."""
    return CalibrationScheduler(shop.worker.database, least, SHARE).schedule()


def calibrations(shop: Shop) -> list[JobOut]:
    return [job for job in shop.jobs.list_recent() if job.kind == "calibrate"]


both = pytest.mark.parametrize("shop", ["sqlite", "postgresql"], indirect=True)


@both
def test_it_is_made_once_and_again_when_much_changed(shop: Shop) -> None:
    shop.accept_import(goods(range(PRODUCTS)))
    assert look(shop) == [], "an empty catalogue has no index"
    shop.work()
    assert look(shop, PRODUCTS + 1) == [], "the control: it is too small"
    keeping = CalibrationScheduler(shop.worker.database, PRODUCTS, SHARE)
    made = keeping.schedule()
    job = shop.jobs.status(made[0])
    assert (len(made), job.kind, job.state, job.options) == (1, "calibrate", "queued", {"origin": "system"})
    assert keeping.schedule() == look(shop) == [], "one is open"
    shop.work()
    assert shop.jobs.status(made[0]).state == "succeeded"
    assert keeping.schedule() == look(shop) == [], "nothing changed since"

    shop.import_files(goods(range(PRODUCTS)), mode="metadata_only")
    shop.import_files(goods(range(PRODUCTS), "new"), dry_run=True)
    rows = ["product_id,title,price", *(f"p{n},Other {n},{n}.5" for n in range(PRODUCTS))]
    shop.import_files({"manifest.csv": "\n".join(rows)}, mode="metadata_only")
    assert shop.jobs.list_recent()[0].counts.changed == PRODUCTS
    assert keeping.schedule() == look(shop) == [], "other prices change no score"

    shop.import_files(goods(range(2), "new"))
    assert keeping.schedule() == look(shop) == [], "two of twelve are few"
    shop.import_files(goods(range(2, 3), "newer"))
    again = keeping.schedule()
    assert len(again) == 1, "a quarter is not"
    shop.work()
    assert keeping.schedule() == look(shop) == []
    assert len(calibrations(shop)) == 2


def test_it_waits_until_an_import_has_ended(shop: Shop) -> None:
    shop.import_files(goods(range(PRODUCTS)))
    shop.accept_import(goods(range(PRODUCTS, PRODUCTS + 2)))
    keeping = CalibrationScheduler(shop.worker.database, PRODUCTS, SHARE)
    assert keeping.schedule() == []
    shop.work()
    assert len(keeping.schedule()) == 1


def test_products_that_go_or_come_one_by_one_count_too(shop: Shop) -> None:
    shop.import_files(goods(range(PRODUCTS)))
    keeping = CalibrationScheduler(shop.worker.database, 4, SHARE)
    assert len(keeping.schedule()) == 1
    shop.work()
    shop.put("by-hand", ProductIn(titles={"en": "By hand"}), [builders.jpeg(seed=77)])
    assert keeping.schedule() == []
    shop.jobs.create_delete("shop", [f"p{n}" for n in range(3)])
    assert keeping.schedule() == [], "they go when the job has ended"
    shop.work()
    assert len(keeping.schedule()) == 1


def test_what_a_person_cancelled_is_not_made_again_before_there_is_a_reason(shop: Shop) -> None:
    shop.import_files(goods(range(PRODUCTS)))
    shop.jobs.cancel(look(shop)[0])
    assert look(shop) == []
    shop.import_files(goods(range(4), "new"))
    assert len(look(shop)) == 1


def test_what_was_calibrated_before_is_so_again_after_a_promotion(shop: Shop) -> None:
    """Nothing is told to anybody at the promotion: whoever looks next, however late, sees what is missing."""
    shop.import_files(goods(range(PRODUCTS)))
    large = 1000
    assert look(shop, large) == []
    with shop.worker.database.write() as session:
        version = session.scalar(select(IndexVersionRow.id).where(IndexVersionRow.state == "live"))
        known = {"index_version": version, "curves": {}, "report": {"calibrated": True}}
        session.add(Calibration(**known, created_at=now_s()))
    indexes = IndexRepository(shop.worker.database)
    indexes.reprocess("shop", ReprocessRequest(embedder=NEW))
    shop.work()
    assert look(shop, large) == [], "the new one is not live yet"
    indexes.promote("shop", PromoteRequest(force=True))
    assert look(shop, large) == [], "nor is it now"
    shop.work()
    made = look(shop, large)
    with shop.worker.database.read() as session:
        live = session.scalar(select(IndexVersionRow.id).where(IndexVersionRow.state == "live"))
        of_job = session.scalar(select(Job.index_version).where(Job.id == made[0]))
        assert live is not None
        assert of_job == live != version
    shop.jobs.cancel(made[0])
    # The control: a catalogue of this size that was never calibrated is left alone.
    with shop.worker.database.write() as session:
        session.execute(delete(Job).where(Job.id == made[0]))
        session.execute(update(Calibration).values(report={"calibrated": False}))
    assert look(shop, large) == []


@pytest.mark.parametrize(
    ("shop", "without"),
    [
        ("sqlite", None),
        ("postgresql", None),
        ("sqlite", "second look"),
        ("postgresql", "second look"),
        ("postgresql", "lock"),  # SQLite lets one writer in at a time anyhow
    ],
    indirect=["shop"],
)
def test_of_two_that_look_at_once_one_makes_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, without: str | None
) -> None:
    """Both have seen the need before either acts. The controls lack what tells the second of the first."""
    shop.import_files(goods(range(PRODUCTS)))
    first_looks, second_looks = threading.Barrier(2), threading.Barrier(2)
    seen = threading.local()
    real = CalibrationScheduler._need

    def need(refresher: CalibrationScheduler, session: Any, live: Any) -> Any:
        if not hasattr(seen, "before"):
            seen.before = real(refresher, session, live)
            first_looks.wait()
            return seen.before
        if without == "second look":
            return seen.before
        found = real(refresher, session, live)
        if without == "lock":
            second_looks.wait()
        return found

    monkeypatch.setattr(CalibrationScheduler, "_need", need)
    if without == "lock":
        monkeypatch.setattr(
            refreshing, "find_catalogue", lambda session, name, _: find_catalogue(session, name)
        )
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.extend(look(shop)), daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == len(calibrations(shop)) == (1 if without is None else 2)


@pytest.mark.parametrize("auto", [True, False])
def test_the_sweeper_looks_unless_it_is_told_not_to(shop: Shop, auto: bool) -> None:
    shop.import_files(goods(range(PRODUCTS)))
    wanted = CalibrationSettings(auto=auto, min_products=PRODUCTS)
    sweeper = build_sweeper(shop.settings.model_copy(update={"calibration": wanted}))
    sweeper.sweep()
    assert len(calibrations(shop)) == int(auto)
    sweeper.sweep()
    shop.work()
    assert len(calibrations(shop)) == int(auto)
    sweeper.database.close()
