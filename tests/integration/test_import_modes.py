"""What an import does with products that a catalogue has already: modes, dry runs, refusals."""

from __future__ import annotations

from decimal import Decimal

import pytest

from shared.contracts import ProductIn
from shared.errors import UnknownProduct
from tests import builders
from tests.packing import pictures
from tests.shop import Shop, found, reasons

pytestmark = pytest.mark.slow

BOTH = pytest.mark.parametrize("shop", ["sqlite", "postgresql"], indirect=True)


def manifest(*rows: str) -> str:
    return "\n".join(["product_id,title,price,images", *rows])


def rows_of(count: int, **changed: str) -> list[str]:
    """Rows ``p0`` to ``p<count - 1>``; ``p3="..."`` puts another row in the place of one."""
    return [changed.get(f"p{n}", f"p{n},Product {n},{n}.50,p{n}.jpg") for n in range(count)]


def shop_of(shop: Shop, count: int) -> dict[str, bytes | str]:
    """Import products; return what was sent."""
    files: dict[str, bytes | str] = {**pictures(count), "manifest.csv": manifest(*rows_of(count))}
    job = shop.jobs.status(shop.import_files(files))
    assert job.counts.new == count
    return files


def products(shop: Shop) -> int:
    return shop.catalogue.get("shop").products


def there(shop: Shop, product_id: str) -> bool:
    try:
        return bool(shop.catalogue.product("shop", product_id))
    except UnknownProduct:
        return False


@BOTH
def test_a_sync_deletes_what_the_manifest_does_not_name_and_nothing_that_it_names_wrongly(shop: Shop) -> None:
    files = shop_of(shop, 12)
    kept = rows_of(12, p3="p3,Bad price,much,p3.jpg", p4="p4,No such picture,1,gone.jpg")
    files["manifest.csv"] = manifest(*(row for row in kept if row.split(",")[0] not in ("p0", "p7", "p11")))
    job = shop.jobs.status(shop.import_files(files, mode="sync"))
    assert (job.state, job.counts.deleted, job.counts.failed) == ("succeeded", 3, 2), job
    assert job.counts.unchanged == 7
    assert reasons(shop, job.id) == {"p3": "invalid_price", "gone.jpg": "missing_image"}
    assert [n for n in range(12) if not there(shop, f"p{n}")] == [0, 7, 11]
    assert shop.rows() == 9
    assert job.report is not None
    proof = job.report["reconcile"]
    assert (proof["expected"], proof["found"], proof["missing"], proof["orphans"]) == (9, 9, 0, 0)


def test_an_import_without_sync_deletes_nothing(shop: Shop) -> None:
    files = shop_of(shop, 4)
    files["manifest.csv"] = manifest(*rows_of(4)[:1])
    assert shop.jobs.status(shop.import_files(files)).counts.deleted == 0
    assert products(shop) == 4


def test_a_sync_that_would_empty_the_shop_is_refused_whole(shop: Shop) -> None:
    files = shop_of(shop, 10)
    most = manifest("p0,Another title,0.50,p0.jpg", *rows_of(10)[1:4])
    for text in (manifest(), most):
        files["manifest.csv"] = text
        job = shop.jobs.status(shop.import_files(files, mode="sync"))
        assert job.state == "failed"
        assert job.error is not None
        assert job.error.code == "invalid_manifest"
        assert "more than the allowed 50%" in job.error.message
        assert (products(shop), shop.rows()) == (10, 10)
    assert shop.catalogue.product("shop", "p0").titles == {"en": "Product 0"}, "it must not be half done"

    allowed = shop.jobs.status(shop.import_files(files, mode="sync", max_delete_share=0.6))
    assert (allowed.state, allowed.counts.deleted, allowed.counts.changed) == ("succeeded", 6, 1)
    assert products(shop) == 4


def test_rows_that_cannot_be_read_might_be_any_product_so_a_sync_over_them_deletes_nothing(
    shop: Shop,
) -> None:
    shop_of(shop, 4)
    rows = [f'{{"product_id": "p{n}", "image": "p{n}.jpg"}}' for n in range(3)]
    text = "\n".join([*rows, '{"product_id": "p3'])
    files: dict[str, bytes | str] = {**pictures(4), "manifest.jsonl": text}
    job = shop.jobs.status(shop.import_files(files, mode="sync"))
    assert job.state == "failed"
    assert job.error is not None
    assert "cannot be read" in job.error.message
    assert products(shop) == 4
    assert shop.jobs.status(shop.import_files(files)).counts.failed == 1, "without sync it is one bad row"


def test_a_product_put_after_the_sync_was_asked_for_stays(shop: Shop) -> None:
    files = shop_of(shop, 6)
    sync = shop.accept_import(files, mode="sync")
    key = shop.store.put(builders.jpeg(seed=90), "images")
    shop.jobs.create_put("shop", "by-hand", ProductIn(), [key])
    shop.work()
    assert shop.jobs.status(sync).counts.deleted == 0
    assert there(shop, "by-hand")
    again = shop.jobs.status(shop.import_files(files, mode="sync"))
    assert again.counts.deleted == 1


@BOTH
def test_metadata_only_opens_no_picture_and_makes_no_product(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop_of(shop, 5)
    looks: list[str] = []
    files: dict[str, bytes | str] = {
        "manifest.csv": "product_id,title,price\np0,Renamed,9\np1,Product 1,1.50\nstranger,Who,1\np2,Bad,x"
    }
    with monkeypatch.context() as patch:
        patch.setattr("shared.sandbox.pool.PictureSandbox.decode", lambda *a: looks.append("decoded"))
        job = shop.jobs.status(shop.import_files(files, mode="metadata_only"))
    counts = job.counts
    assert (counts.changed, counts.unchanged, counts.new, counts.failed) == (1, 1, 0, 2), job
    assert reasons(shop, job.id) == {"stranger": "unknown_product", "p2": "invalid_price"}
    renamed = shop.catalogue.product("shop", "p0")
    assert (renamed.titles, str(renamed.price), len(renamed.images)) == ({"en": "Renamed"}, "9.00", 1)
    assert (products(shop), shop.rows(), looks, job.images) == (5, 5, [], 0)
    assert "p0" in found(shop.search(pictures(1)["p0.jpg"]))


def changed_files(count: int) -> dict[str, bytes | str]:
    """The catalogue of ``shop_of``, with one product new, two changed, one gone, three rows bad."""
    rows = rows_of(
        count,
        p1="p1,Renamed,1.50,p1.jpg",
        p2="p2,Product 2,2.50,other.jpg",
        p3="p3,Product 3,3.50,gone.jpg",
        p4="p4,Product 4,4.50,page.jpg",
        p5="p5,Product 5,dear,p5.jpg",
    )
    return {
        **pictures(count),
        "other.jpg": builders.jpeg(seed=70),
        "page.jpg": "<html>no picture</html>",
        "new.jpg": builders.jpeg(seed=71),
        "manifest.csv": manifest(*rows[: count - 1], "fresh,Fresh,1,new.jpg"),
    }


@pytest.mark.parametrize("mode", ["upsert", "sync"])
def test_a_dry_run_says_what_the_import_then_does(shop: Shop, mode: str) -> None:
    shop_of(shop, 20)
    files = changed_files(20)
    before = (products(shop), shop.rows(), shop.catalogue.product("shop", "p1"))
    dry = shop.jobs.status(shop.import_files(files, mode=mode, dry_run=True))
    assert dry.state == "succeeded"
    assert (products(shop), shop.rows(), shop.catalogue.product("shop", "p1")) == before
    assert dry.report is not None
    said = dry.report["dry_run"]
    deleted = 1 if mode == "sync" else 0
    assert (said["new"], said["changed"], said["unchanged"], said["delete"]) == (1, 2, 14, deleted)
    assert said["examples"] == {"new": ["fresh"], "changed": ["p1", "p2"], "deleted": ["p19"][:deleted]}
    assert {bad["product_id"]: bad["reason"] for bad in said["bad"]} == {
        "p3": "missing_image",
        "p4": "unsupported_format",
        "p5": "invalid_price",
    }
    assert (said["bad_rows"], said["images_to_embed"], said["refused"]) == (3, 2, None)
    low, high = said["estimated_s"]
    assert 0 <= low < high
    assert "this catalogue's last 1 imports" in said["measured"]

    done = shop.jobs.status(shop.import_files(files, mode=mode))
    assert (done.counts, done.images) == (dry.counts, dry.images)
    after = shop.jobs.status(shop.import_files(files, mode=mode, dry_run=True))
    assert (after.counts.new, after.counts.changed, after.counts.deleted, after.images) == (0, 0, 0, 0)


def test_a_dry_run_of_a_first_import_makes_no_index_and_knows_no_rate(shop: Shop) -> None:
    dry = shop.jobs.status(shop.import_files(dict(pictures(3)), dry_run=True))
    assert (dry.counts.new, dry.images) == (3, 3)
    assert dry.report is not None
    assert dry.report["dry_run"]["estimated_s"] is None
    assert shop.catalogue.get("shop").index_version is None
    assert shop.worker.index.collections() == [] or not any(
        name.startswith(shop.settings.milvus.prefix) for name in shop.worker.index.collections()
    )


def test_a_dry_run_reports_a_sync_that_would_be_refused(shop: Shop) -> None:
    files = shop_of(shop, 10)
    files["manifest.csv"] = manifest(*rows_of(10)[:2])
    dry = shop.jobs.status(shop.import_files(files, mode="sync", dry_run=True))
    assert (dry.state, dry.counts.deleted) == ("succeeded", 8)
    assert dry.report is not None
    assert "would delete 8 of 10" in dry.report["dry_run"]["refused"]
    assert products(shop) == 10


def test_a_dry_run_of_data_alone(shop: Shop) -> None:
    shop_of(shop, 3)
    files: dict[str, bytes | str] = {"manifest.csv": "product_id,title\np0,Product 0\nstranger,Who"}
    dry = shop.jobs.status(shop.import_files(files, mode="metadata_only", dry_run=True))
    assert (dry.counts.changed, dry.counts.failed, dry.images) == (1, 1, 0), "its price is gone"
    assert reasons(shop, dry.id) == {"stranger": "unknown_product"}


@BOTH
def test_partial_changes_meet_in_the_worker_and_lose_nothing(shop: Shop) -> None:
    photo = builders.jpeg(seed=33)
    shop.put("lamp", ProductIn(titles={"en": "Lamp"}, category="Light", price=Decimal("19.5")), [photo])
    # Both are accepted before either is done.
    jobs = [
        shop.jobs.create_patch("shop", "lamp", {"price": "17", "titles": {"de": "Lampe"}}).id,
        shop.jobs.create_patch("shop", "lamp", {"category": "Lighting", "titles": {"fr": "Lampe"}}).id,
    ]
    shop.work()
    assert [shop.jobs.status(job).counts.changed for job in jobs] == [1, 1]
    lamp = shop.catalogue.product("shop", "lamp")
    assert lamp.titles == {"en": "Lamp", "de": "Lampe", "fr": "Lampe"}
    assert (lamp.category, str(lamp.price), len(lamp.images)) == ("Lighting", "17.00", 1)
    assert found(shop.search(photo, category="Lighting")) == ["lamp"]
    assert found(shop.search(photo, category="Light")) == []
    shop.jobs.create_delete("shop", ["lamp"])
    late = shop.jobs.create_patch("shop", "lamp", {"price": "1"}).id
    shop.work()
    assert shop.jobs.status(late).counts.failed == 1
    assert not there(shop, "lamp")
