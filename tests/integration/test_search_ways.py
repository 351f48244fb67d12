"""Ways to ask: filters, groups, asked again, pages, examples; on a real database and image store."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import delete, event, update

from shared.contracts import FoundObject, ProductIn, SearchResult, WholeImage
from shared.database.tables import Product
from shared.searches.repository import SearchSource
from tests import builders
from tests.packing import pictures
from tests.shop import Shop, found
from worker.vision import Detection

pytestmark = pytest.mark.slow

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
#: What a search spends time on when it needs its photo.
OF_THE_PHOTO = {"decode", "detect", "crop", "embed"}


@pytest.fixture
def filled(shop: Shop) -> Shop:
    """Forty products, made as one import and then priced, a third of them of oak."""
    rows = ["product_id,title,title_de,category,price,material,images"]
    for n in range(40):
        material = "oak" if n % 3 == 0 else "pine"
        rows.append(f"p{n},Chair {n},Stuhl {n},{'odd' if n % 2 else 'even'},{n},{material},p{n}.jpg")
    shop.import_files({**pictures(40), "manifest.csv": "\n".join(rows)})
    assert shop.rows() == 40
    return shop


@pytest.fixture
def two_objects(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector that sees two halves in every photo, the left one first."""
    seen = [Detection(LEFT, "product", 0.9), Detection(RIGHT, "product", 0.8)]
    detector = type(shop.worker.pipelines.default.detector)
    monkeypatch.setattr(detector, "detect", lambda _, images: [list(seen) for _ in images])


def ask(shop: Shop, asked: SearchSource, **options: Any) -> SearchResult:
    """Ask as the web does for a query id, a page or examples."""
    status = shop.answered(shop.accept_search(asked=asked, **options))
    assert status.result is not None, status
    return status.result


def again(shop: Shop, first: SearchResult, **options: Any) -> SearchResult:
    return ask(shop, shop.searches.load_earlier(first.query_id).source, **options)


def page_after(shop: Shop, first: SearchResult, after: str) -> SearchResult:
    known = shop.searches.load_earlier(first.query_id)
    return ask(shop, known.source, **{**known.options.model_dump(), "after": after})


def embeds_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a model was asked")

    pipeline = shop.worker.pipelines.default
    monkeypatch.setattr(type(pipeline.detector), "detect", refuse)
    monkeypatch.setattr(type(pipeline.embedder), "embed", refuse)


def test_a_filter_is_kept_to_and_said_as_it_was_understood(filled: Shop) -> None:
    photo = pictures(8)["p7.jpg"]
    result = filled.search(
        photo, top_k=40, category="odd", filter="price 5..20 AND not attributes.material = 'oak'"
    )
    wanted = {f"p{n}" for n in range(5, 21) if n % 2 and n % 3}
    assert set(found(result)) == wanted
    assert found(result)[0] == "p7"
    assert result.filter == (
        'category = "odd" and ((price >= 5 and price <= 20) and not (attributes.material = "oak"))'
    )
    understood = filled.search(photo, top_k=40, filter=result.filter)
    assert found(understood) == found(result)
    assert found(filled.search(photo, filter='title contains "stuhl 31"')) == ["p31"]
    strict = filled.search(photo, filter="price < 9", min_score=0.99)
    assert found(strict) == ["p7"]


def test_what_no_longer_passes_is_left_out_and_the_next_takes_its_place(filled: Shop) -> None:
    photo = pictures(8)["p7.jpg"]
    before = found(filled.search(photo, top_k=4, filter="price < 100"))
    with filled.worker.database.write() as session:
        # Changed and gone a moment ago: the index does not know yet.
        session.execute(update(Product).where(Product.product_id == before[0]).values(price=Decimal(500)))
        session.execute(delete(Product).where(Product.product_id == before[1]))
    after = found(filled.search(photo, top_k=4, filter="price < 100"))
    assert len(after) == 4
    assert after[:2] == before[2:]
    assert found(filled.search(photo, top_k=2))[0] == before[0]


def test_only_what_is_shown_or_votes_is_read_from_the_database(filled: Shop) -> None:
    read: list[int] = []

    def count(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "FROM products" in statement and "titles" in statement:
            read.append(statement.count("?"))

    engine = filled.worker.database.engine
    event.listen(engine, "after_cursor_execute", count)
    filled.search(pictures(1)["p0.jpg"], top_k=3)
    event.remove(engine, "after_cursor_execute", count)
    # One statement: for the ten nearest, who tell the category (three are shown), and their catalogue.
    assert read == [11]


@pytest.mark.usefixtures("two_objects")
def test_a_product_is_in_one_group_unless_it_may_repeat(filled: Shop) -> None:
    photo = builders.jpeg(seed=3, width=200, height=160)
    result = filled.search(photo, top_k=6)
    groups = [[h.product_id for h in o.hits] for o in result.objects] + [found(result)]
    assert [len(group) for group in groups] == [6, 6, 6]
    assert len({product for group in groups[:2] for product in group}) == 12
    assert [hit.query_box for hit in result.objects[1].hits] == [RIGHT] * 6
    assert {hit.query_box for hit in result.whole.hits} == {(0, 0, 1, 1)}
    assert result.models["index_version"] == "1"
    repeated = filled.search(photo, top_k=40, repeat=True)
    assert [len(o.hits) for o in repeated.objects] + [len(found(repeated))] == [40, 40, 40]


@pytest.mark.usefixtures("two_objects")
def test_asked_again_no_model_is_asked(filled: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = builders.jpeg(seed=3, width=200, height=160)
    first = filled.search(photo, top_k=6)
    assert set(first.timings_ms) >= OF_THE_PHOTO
    crop = again(filled, first, box=(0.2, 0.2, 0.7, 0.7))
    assert set(crop.timings_ms) >= OF_THE_PHOTO, "the control: a new box is embedded"
    assert crop.objects[0].box == (0.2, 0.2, 0.7, 0.7)

    with monkeypatch.context() as only_here:
        embeds_nothing(filled, only_here)
        same = again(filled, first, top_k=6)
        assert same.model_dump(include={"objects"}, exclude={"objects": {"__all__": {"next"}}}) == (
            first.model_dump(include={"objects"}, exclude={"objects": {"__all__": {"next"}}})
        )
        assert not OF_THE_PHOTO & set(same.timings_ms)
        cheap = again(filled, first, filter="price < 5", locale="de", repeat=True)
        assert {h.product_id for h in cheap.objects[1].hits} == {f"p{n}" for n in range(5)}
        assert cheap.whole.hits[0].title.startswith("Stuhl")
        half = again(filled, first, box=RIGHT, repeat=True)
        assert half.objects[0].hits[0].score == pytest.approx(
            again(filled, first, repeat=True).objects[1].hits[0].score, abs=1e-4
        )
        known = again(filled, crop, box=(0.2, 0.2, 0.7, 0.7))
        assert known.objects[0].hits[0] == crop.objects[0].hits[0]
        assert len(again(filled, crop).objects) == 2, "a crop forgets nothing of the photo"
        assert again(filled, first, detect=False).objects == []


@pytest.mark.parametrize("repeat", [False, True])
@pytest.mark.usefixtures("two_objects")
def test_pages_neither_repeat_nor_skip(filled: Shop, repeat: bool) -> None:
    first = filled.search(builders.jpeg(seed=3, width=200, height=160), top_k=4, repeat=repeat)
    lines = []
    groups: list[FoundObject | WholeImage] = [*first.objects, first.whole]
    for number, group in enumerate(groups):
        line, following = [h.product_id for h in group.hits], group.next
        while following is not None:
            page = page_after(filled, first, following)
            alone: FoundObject | WholeImage = page.objects[0] if number < 2 else page.whole
            assert len(page.objects) == (number < 2)
            line += [h.product_id for h in alone.hits]
            following = alone.next
        lines.append(line)
    everything = sorted(f"p{n}" for n in range(40))
    if repeat:
        assert [sorted(line) for line in lines] == [everything] * 3
    else:
        assert sorted(product for line in lines[:2] for product in line) == everything
        assert sorted(lines[2]) == everything


def test_by_product_each_hit_names_the_picture_and_examples_move_it(filled: Shop) -> None:
    plain = filled.search(product_id="p4", top_k=39)
    assert len(found(plain)) == 39
    own = {image.image_id for image in filled.catalogue.product("shop", "p4").images}
    assert {hit.query_image_id for hit in plain.whole.hits} == own
    last = found(plain)[-1]
    moved = filled.search(product_id="p4", top_k=39, like=["p9"], unlike=[last])
    assert not {"p4", "p9", last} & set(found(moved))
    assert len(found(moved)) == 37
    near = found(filled.search(product_id="p9", top_k=39))
    shared_first = next(p for p in near if p not in ("p4", last))
    rank = found(plain).index(shared_first), found(moved).index(shared_first)
    assert rank[1] <= rank[0]
    alone = ask(filled, SearchSource(), like=["p9"], top_k=5)
    assert found(alone) == near[:5]


def test_several_photos_are_one_query(filled: Shop) -> None:
    photos = pictures(40)
    keys = [filled.store.put(photos[name], "queries") for name in ("p1.jpg", "p2.jpg")]
    both = ask(filled, SearchSource(keys[0], (keys[1],)), top_k=2)
    assert set(found(both)) == {"p1", "p2"}
    scores = [hit.score for hit in both.whole.hits]
    assert max(scores) < 0.999
    assert scores[0] == pytest.approx(scores[1], abs=0.01)


def test_a_product_with_many_pictures_leaves_room_for_others(shop: Shop) -> None:
    crowd = [builders.jpeg(seed=1, width=200 + n, height=200) for n in range(40)]
    shop.put("crowd", ProductIn(titles={"en": "Crowd"}), crowd)
    for n in range(3):
        shop.put(f"other{n}", ProductIn(titles={"en": "Other"}), [builders.jpeg(seed=50 + n)])
    result = shop.search(crowd[0], top_k=4)
    assert found(result)[0] == "crowd"
    assert len(found(result)) == 4
    assert result.whole.next is None
