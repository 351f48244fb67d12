"""Both lanes in this process, on a real database and image store."""

from __future__ import annotations

from decimal import Decimal

import pytest

from shared.contracts import ProductIn, SearchOptions
from shared.errors import UnknownProduct
from shared.searches.repository import SearchSource
from tests import builders
from tests.packing import pictures
from tests.shop import Shop, found, reasons

pytestmark = pytest.mark.slow


def test_every_bad_row_and_picture_is_listed_and_the_rest_goes_in(shop: Shop) -> None:
    manifest = "\n".join(
        [
            "product_id;title;price;currency;images",
            "good;Chair;19.90;EUR;p0.jpg|gone.jpg",
            ";No id;1;EUR;p1.jpg",
            "a/../b;Bad id;1;EUR;p1.jpg",
            "good;Again;1;EUR;p1.jpg",
            "dear;Dear;much;EUR;p1.jpg",
            "money;Money;1;Taler;p1.jpg",
            "bare;No picture;1;EUR;",
            "torn;Torn;1;EUR;torn.jpg",
            "bomb;Bomb;1;EUR;bomb.png",
            "page;Page;1;EUR;page.jpg",
            "huge;Huge;1;EUR;huge.jpg",
            "last;Last;;;p2.jpg",
        ]
    )
    files: dict[str, bytes | str] = {
        **pictures(3),
        "manifest.csv": manifest,
        "torn.jpg": builders.cut(builders.jpeg(seed=9), 0.6),
        "bomb.png": builders.png_bomb(20_000),
        "page.jpg": "<html>no picture</html>",
        "huge.jpg": b"\xff\xd8" + bytes(3_000_000),
    }
    job = shop.import_files(files)
    status = shop.jobs.status(job)
    assert (status.state, status.counts.new, status.total) == ("succeeded", 2, 12)
    assert reasons(shop, job) == {
        "gone.jpg": "missing_image",
        3: "missing_product_id",
        4: "invalid_product_id",
        "good": "duplicate_product_id",
        "dear": "invalid_price",
        "money": "invalid_currency",
        "bare": "no_image",
        "torn.jpg": "undecodable_image",
        "bomb.png": "image_too_large",
        "page.jpg": "unsupported_format",
        "huge.jpg": "image_too_large",
    }
    assert status.counts.failed == 10
    assert shop.rows() == 2
    assert shop.catalogue.product("shop", "good").titles == {"en": "Chair"}


@pytest.mark.parametrize("shop", ["sqlite", "postgresql", "milvus"], indirect=True)
def test_a_product_is_written_changed_and_deleted_with_its_rows(shop: Shop) -> None:
    first, second, third = (builders.jpeg(seed=n, width=200, height=200) for n in range(3))
    shop.put(
        "lamp",
        ProductIn(titles={"en": "Lamp", "de": "Lampe"}, category="Light", price=Decimal("19.5")),
        [first, second],
    )
    shop.put(
        "vase", ProductIn(titles={"en": "Vase"}, category="Decoration", price=Decimal("0.0125")), [third]
    )
    assert shop.rows() == 3
    assert len(shop.catalogue.product("shop", "lamp").images) == 2
    hits = shop.search(second, locale="de").whole.hits
    assert [(h.product_id, h.title) for h in hits] == [("lamp", "Lampe"), ("vase", "Vase")]
    assert [str(h.price) for h in hits] == ["19.50", "0.0125"]

    job = shop.put("lamp", ProductIn(titles={"en": "Lamp"}, category="Light"), [second])
    assert shop.jobs.status(job).counts.changed == 1
    assert shop.jobs.status(job).images == 0, "a known picture must not be embedded again"
    assert shop.rows() == 2

    shop.put("lamp", ProductIn(titles={"en": "Lamp"}, category="Bright light"), None)
    assert found(shop.search(third, category="Bright light")) == ["lamp"]
    assert found(shop.search(third, category="Light")) == []

    shop.jobs.create_delete("shop", ["lamp"])
    shop.work()
    assert shop.rows() == 1
    assert found(shop.search(second)) == ["vase"]
    with pytest.raises(UnknownProduct):
        shop.catalogue.product("shop", "lamp")


def test_the_same_import_again_computes_nothing_and_a_new_picture_only_itself(shop: Shop) -> None:
    files: dict[str, bytes | str] = dict(pictures(6))
    shop.import_files(files)
    again = shop.jobs.status(shop.import_files(files))
    assert (again.counts.unchanged, again.images) == (6, 0)
    changed = shop.jobs.status(shop.import_files({**files, "p3.jpg": builders.jpeg(seed=77)}))
    assert (changed.counts.unchanged, changed.counts.changed, changed.images) == (5, 1, 1)
    assert shop.rows() == 6


@pytest.mark.parametrize("shop", ["milvus"], indirect=True)
def test_hostile_category_text_finds_only_itself(shop: Shop) -> None:
    hostile = 'x" or category != "'
    shop.put("a", ProductIn(category=hostile), [builders.jpeg(seed=1)])
    shop.put("b", ProductIn(category="plain"), [builders.jpeg(seed=2)])
    assert found(shop.search(builders.jpeg(seed=1), category=hostile)) == ["a"]
    assert found(shop.search(builders.jpeg(seed=1), category='" or "1" == "1')) == []


def test_one_bad_query_among_many_fails_alone(shop: Shop) -> None:
    photos = pictures(4)
    shop.import_files(dict(photos))
    keys = [shop.store.put(photo, "queries") for photo in photos.values()]
    keys[2] = "f" * 64
    ids = [
        shop.searches.accept(
            "shop", SearchOptions(catalogue="shop"), SearchSource(query_key=key), ttl_s=600
        ).id
        for key in keys
    ]
    states = [shop.answered(each).state for each in ids]
    assert states == ["succeeded", "succeeded", "failed", "succeeded"]
    error = shop.searches.status(ids[2]).error
    assert error is not None
    assert error.code == "invalid_input"


def test_a_query_box_limits_and_min_score_are_kept_to(shop: Shop) -> None:
    shop.import_files(dict(pictures(12)))
    result = shop.search(pictures(1)["p0.jpg"], top_k=5, box=[0.1, 0.1, 0.9, 0.9])
    assert len(result.whole.hits) == 5
    assert len(result.objects) == 1
    assert result.objects[0].box == pytest.approx((0.1, 0.1, 0.9, 0.9), abs=1e-4)
    assert len({h.product_id for h in result.objects[0].hits}) == 5
    scores = [h.score for h in shop.search(pictures(1)["p0.jpg"], top_k=5).whole.hits]
    assert scores == sorted(scores, reverse=True)
    least = scores[2]
    strict = shop.search(pictures(1)["p0.jpg"], top_k=5, min_score=least)
    assert [h.score for h in strict.whole.hits] == pytest.approx(scores[:3], abs=1e-4)
    similar = found(shop.search(product_id="p4", top_k=12))
    assert len(similar) == 11
    assert "p4" not in similar


def test_memory_that_runs_out_over_one_product_fails_only_that_one(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedder stands in for a device: it refuses one picture, alone or in company (M07)."""
    photos = pictures(8)
    embedder = shop.worker.pipelines.default.embedder
    embed, crop = embedder.embed, embedder.crop
    wide = builders.jpeg(seed=50, width=333, height=96)
    marked: list[int] = []

    def crop_and_mark(image, detection):  # type: ignore[no-untyped-def]
        cut = crop(image, detection)
        if image.shape[1] == 333:
            marked.append(cut.tobytes().__hash__())
        return cut

    def embed_unless_marked(crops):  # type: ignore[no-untyped-def]
        if any(c.tobytes().__hash__() in marked for c in crops):
            raise MemoryError
        return embed(crops)

    monkeypatch.setattr(type(embedder), "crop", lambda _, i, d: crop_and_mark(i, d))
    monkeypatch.setattr(type(embedder), "embed", lambda _, c: embed_unless_marked(c))
    monkeypatch.setattr("worker.jobs.lane.back_off_s", lambda _: -1.0)
    job = shop.import_files({**photos, "wide.jpg": wide})
    status = shop.jobs.status(job)
    assert (status.state, status.counts.new, status.counts.failed) == ("succeeded", 8, 1)
    assert [f.product_id for f in shop.jobs.failures(job).failures] == ["wide"]
