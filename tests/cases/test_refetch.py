"""Pictures that could not be fetched are fetched again once, at the end of their import."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, BinaryIO

import pytest

from cli.reports import report_lines
from shared.database.clock import now_s
from shared.database.tables import Catalogue, Job
from shared.errors import ImageMissing, Unreachable
from shared.imports.addresses import Fetcher
from shared.retention.expiry import delete_dry_runs
from tests.builders import jpeg
from tests.packing import pictures
from tests.shop import Shop, reasons

CSV = "product_id,title,images\n" + "".join(f"p{n},T,https://x.example/{n}.jpg\n" for n in range(4))


def answer_with(monkeypatch: pytest.MonkeyPatch, answer: Callable[[str, int], bytes]) -> list[str]:
    """Answer fetches by address and number of the try; return the list that they are noted in."""
    asked: list[str] = []

    def open_address(self: Fetcher, address: str) -> BinaryIO:
        asked.append(address)
        return io.BytesIO(answer(address, asked.count(address)))

    monkeypatch.setattr(Fetcher, "open", open_address)
    return asked


def photo(address: str) -> bytes:
    return jpeg(seed=sum(map(ord, address)) % 97, width=64, height=64)


def test_pictures_of_a_site_that_was_down_come_at_the_second_try(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(address: str, tries: int) -> bytes:
        if address.endswith("3.jpg"):
            raise ImageMissing("gone")
        if address.endswith(("1.jpg", "2.jpg")) and (tries == 1 or "2.jpg" in address):
            raise Unreachable("down")
        return photo(address)

    asked = answer_with(monkeypatch, answer)
    job = shop.jobs.status(shop.import_files({"products.csv": CSV}))
    counts = job.counts
    assert (job.state, counts.new, counts.failed, job.image_failures) == ("succeeded", 2, 2, 2)
    assert (job.total, job.done) == (4, 4)
    assert reasons(shop, job.id) == {
        "https://x.example/2.jpg": "unreachable",
        "https://x.example/3.jpg": "missing_image",
    }
    assert sorted(asked) == [f"https://x.example/{n}.jpg" for n in (0, 1, 1, 2, 2, 3)], "each once more"
    assert job.report is not None
    assert job.report["refetch"] == {"pictures": 2, "fetched": 1}
    assert "2 pictures could not be fetched at first: 1 came at the second try." in list(report_lines(job))


def test_a_product_that_was_new_without_a_picture_is_still_new(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(address: str, tries: int) -> bytes:
        if address.endswith("b.jpg") and tries == 1:
            raise Unreachable("down")
        return photo(address)

    answer_with(monkeypatch, answer)
    table = "product_id,images\np1,https://x.example/a.jpg|https://x.example/b.jpg\n"
    job = shop.jobs.status(shop.import_files({"products.csv": table}))
    assert (job.counts.new, job.counts.changed, job.image_failures) == (1, 0, 0)
    assert len(shop.catalogue.product("shop", "p1").images) == 2


def test_an_interrupted_second_try_goes_on_and_is_no_third(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(address: str, tries: int) -> bytes:
        if tries == 1:
            raise Unreachable("down")
        if tries == 2 and address.endswith("2.jpg"):
            raise RuntimeError("the process ends here")
        return photo(address)

    asked = answer_with(monkeypatch, answer)
    monkeypatch.setattr("worker.jobs.lane.back_off_s", lambda tries: 0.0)
    job = shop.jobs.status(shop.import_files({"products.csv": CSV}))
    assert (job.state, job.counts.new, job.counts.failed, job.done) == ("succeeded", 4, 0, 4)
    assert max(map(asked.count, asked)) == 3, "only what was interrupted is fetched a third time"


def test_dry_runs_of_catalogues_that_were_never_created_expire(shop: Shop) -> None:
    kept, old = (shop.accept_import({**pictures(1)}, "fresh", dry_run=True) for _ in range(2))
    shop.done(kept), shop.done(old)

    def count(table: Any) -> int:
        with shop.database.read() as session:
            return int(session.query(table).count())

    assert (count(Catalogue), count(Job)) == (3, 2)
    with shop.database.write() as session:
        job = session.get_one(Job, old)
        job.finished_at = now_s() - 100
        session.get_one(Catalogue, job.catalogue_id).created_at = now_s() - 200
    assert delete_dry_runs(shop.database, 50.0) == 1
    assert (count(Catalogue), count(Job)) == (2, 1)
    assert shop.jobs.status(kept).state == "succeeded"
    assert delete_dry_runs(shop.database, 0.0) == 1
    assert [each.name for each in shop.catalogue.list_catalogues()] == ["shop"]
