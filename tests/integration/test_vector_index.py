"""MilvusIndex does the same on Milvus Lite and on a Milvus server, and the tests' index in memory too."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import numpy as np
import pytest

from shared.contracts import ProductIn
from shared.errors import Conflict, InvalidInput, Misconfigured, NotFound
from shared.filters import category_is, filter_fields, parse, product_is_one_of
from shared.filters.tree import AnyOf
from tests.memory_index import MemoryIndex
from tests.servers import wait_for
from tests.services_milvus import DIM, UNIT, index_rows, unique, unit_vectors
from worker.indexes.rows import index_row
from worker.vector_index import MAX_LIMIT, MilvusIndex, matches
from worker.vector_index.contract import IndexRow
from worker.vector_index.schema import index_params, new_schema

pytestmark = pytest.mark.services
NewCollection = Callable[[], str]
Index = MilvusIndex | MemoryIndex
INJECTION = '" or key != "" -- \'; drop \\ %_ \n\t 漢字 🪑'


def test_rows_written_are_counted_listed_found_and_deleted(
    index: Index, new_collection: NewCollection
) -> None:
    name = new_collection()
    rows = index_rows(3000)
    index.upsert(name, rows)
    assert index.count(name) == 3000
    assert set(index.sorted_keys(name)) == {row.key for row in rows}
    queries = np.stack([rows[7].embedding, rows[2999].embedding])
    wait_for("it is seen", lambda: len(index.search(name, queries, 5)[1]) == 5)
    first, second = index.search(name, queries, 5)
    assert first[0].key == "image7-0"
    assert (first[0].product_id, first[0].image_id, first[0].number) == ("product-7", "image7", 0)
    assert first[0].score == pytest.approx(1.0, abs=1e-5)
    assert second[0].key == "image2999-0"
    exact = np.sort(np.stack([row.embedding for row in rows]) @ queries[0])[::-1][:5]
    assert [hit.score for hit in first] == pytest.approx(exact.tolist(), abs=1e-5)

    index.delete(name, ["image7-0", "never-written", "image8-0"])
    assert index.count(name) == 2998
    assert set(index.sorted_keys(name)) == {row.key for row in rows} - {"image7-0", "image8-0"}
    wait_for("it is seen", lambda: index.search(name, queries, 1)[0][0].key != "image7-0")


def test_keys_lists_a_write_that_finished_just_before(index: Index, new_collection: NewCollection) -> None:
    name = new_collection()
    for n, row in enumerate(index_rows(5), start=1):
        index.upsert(name, [row])
        assert len(set(index.sorted_keys(name))) == n


def test_keys_come_in_the_order_of_their_bytes_and_of_what_a_filter_keeps(
    index: Index, new_collection: NewCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sealed and unsealed rows, over several answers: a merge with the database relies on it."""
    monkeypatch.setattr("worker.vector_index.index._BATCH_LISTED_KEYS", 50)
    name = new_collection()
    names = [f"{chr(code)}{n}" for code in (45, 57, 65, 90, 95, 97, 122) for n in range(30)]
    rows = [dataclasses.replace(row, key=key) for row, key in zip(index_rows(len(names)), names, strict=True)]
    index.upsert(name, rows[100:])
    index.flush(name)
    index.upsert(name, rows[:120])
    assert list(index.sorted_keys(name)) == sorted(names)
    wanted = ["product-3", "product-150", "product-7"]
    kept = {row.key for row in rows if row.product_id in wanted}
    assert list(index.sorted_keys(name, matches("product_id", wanted))) == sorted(kept)
    assert list(index.sorted_keys(name, matches("product_id", ["nobody"]))) == []


def test_the_same_key_again_replaces_the_row_and_the_last_of_a_batch_wins(
    index: Index, new_collection: NewCollection
) -> None:
    name = new_collection()
    rows = index_rows(20)
    index.upsert(name, rows)
    index.upsert(name, rows)
    assert index.count(name) == 20
    other = unit_vectors(2, seed=9)
    twice = [
        dataclasses.replace(rows[3], product_id="first", embedding=other[0]),
        dataclasses.replace(rows[3], product_id="last", embedding=other[1]),
    ]
    index.upsert(name, twice)
    assert index.count(name) == 20
    wait_for(
        "searches see what was written", lambda: index.search(name, other[1:], 1)[0][0].product_id == "last"
    )
    found = index.search(name, other[1:], 20)[0]
    assert [hit.product_id for hit in found if hit.key == rows[3].key] == ["last"]
    assert "first" not in {hit.product_id for hit in found}


def _broken(change: dict[str, object]) -> IndexRow:
    return dataclasses.replace(index_rows(1)[0], **change)  # type: ignore[arg-type]


BROKEN = {
    "nan": _broken({"embedding": np.where(np.arange(DIM) == 3, np.nan, UNIT).astype(np.float32)}),
    "infinite": _broken({"embedding": np.full(DIM, np.inf, np.float32)}),
    "zero": _broken({"embedding": np.zeros(DIM, np.float32)}),
    "too long": _broken({"embedding": UNIT * np.float32(1.01)}),
    "wrong dim": _broken({"embedding": unit_vectors(1, DIM + 1)[0]}),
    "two rows in one": _broken({"embedding": unit_vectors(2)}),
    "price": _broken({"price": float("nan")}),
    "product_id of 129 bytes": _broken({"product_id": "é" * 64 + "x"}),
    "half a character": _broken({"category": "\ud83e"}),
    "empty key": _broken({"key": ""}),
    "key of 65": _broken({"key": "k" * 65}),
    "key with a quote": _broken({"key": 'k"'}),
}


def test_a_row_that_would_poison_the_index_is_refused_with_its_whole_batch(
    index: Index, new_collection: NewCollection
) -> None:
    name = new_collection()
    good = index_rows(5)[1:]
    for row in BROKEN.values():
        with pytest.raises(InvalidInput):
            index.upsert(name, [*good, row])
    assert index.count(name) == 0
    index.upsert(name, [*good, _broken({})])
    assert index.count(name) == 5


def test_queries_are_checked_too(index: Index, new_collection: NewCollection) -> None:
    name = new_collection()
    index.upsert(name, index_rows(5))
    for bad in (BROKEN["nan"], BROKEN["zero"], BROKEN["wrong dim"], BROKEN["too long"]):
        with pytest.raises(InvalidInput):
            index.search(name, bad.embedding[None], 3)
    for limit in (0, -1, MAX_LIMIT + 1):
        with pytest.raises(InvalidInput):
            index.search(name, UNIT[None], limit)
    for filter_ in ("category === (", "no_such_field == 3"):
        with pytest.raises(InvalidInput):
            list(index.sorted_keys(name, filter_))
    assert index.search(name, np.empty((0, DIM), np.float32), 3) == []
    wait_for("it is seen", lambda: len(index.search(name, UNIT[None], 100)[0]) == 5)


def test_hostile_text_comes_back_exactly_and_filters_match_only_it(
    index: Index, new_collection: NewCollection
) -> None:
    name = new_collection()
    rows = index_rows(6)
    rows[2] = dataclasses.replace(rows[2], product_id=INJECTION, category=INJECTION)
    index.upsert(name, rows)
    wait_for("it is seen", lambda: len(index.search(name, UNIT[None], 10)[0]) == 6)
    hostile = index.search(name, UNIT[None], 10, category_is(INJECTION))[0]
    assert [hit.product_id for hit in hostile] == [INJECTION]
    assert [hit.key for hit in index.search(name, UNIT[None], 10, product_is_one_of([INJECTION]))[0]] == [
        rows[2].key
    ]
    assert (
        len(index.search(name, UNIT[None], 10, AnyOf((category_is("chairs"), category_is(INJECTION))))[0])
        == 6
    )
    index.delete(name, [INJECTION, 'x" or number >= 0 or key == "'])
    assert index.count(name) == 6


def test_a_selective_filter_finds_the_exact_neighbours(index: Index, new_collection: NewCollection) -> None:
    name = new_collection()
    rows = index_rows(3000)
    rare = range(0, 3000, 100)
    for i in rare:
        rows[i] = dataclasses.replace(rows[i], category="rare")
    index.upsert(name, rows)
    # Into segments, which get a graph in the background; the exact answer must hold before and after.
    index.flush(name)
    query = unit_vectors(1, seed=5)
    scores = {rows[i].key: float(rows[i].embedding @ query[0]) for i in rare}
    expected = sorted(scores, key=lambda key: -scores[key])[:20]
    wanted = category_is("rare")
    wait_for("it is seen", lambda: len(index.search(name, query, 20, wanted)[0]) == 20)
    for _ in range(5):
        assert [hit.key for hit in index.search(name, query, 20, wanted)[0]] == expected
        time.sleep(0.1)


def test_a_collection_of_an_older_vitrine_is_searched_and_written_without_what_it_lacks(
    milvus_index: MilvusIndex, new_collection: NewCollection
) -> None:
    index = milvus_index
    old, alias = unique("old"), unique("alias")
    schema = new_schema(DIM)
    schema.fields[:] = [field for field in schema.fields if field.name not in ("facts", "ordered")]
    index._call("create_collection", old, schema=schema, index_params=index_params())
    product = ProductIn(category="chairs", tags=["sale"])
    rows = [
        index_row("p", product, filter_fields(product), f"image{n}", 0, vector)
        for n, vector in enumerate(unit_vectors(5))
    ]
    on_sale = parse("tags contains 'sale'")
    index.upsert(old, rows)
    index.set_alias(alias, old)
    wait_for(
        "searches see what was written",
        lambda: len(index.search(alias, UNIT[None], 10, category_is("chairs"))[0]) == 5,
    )
    with pytest.raises(Conflict, match="vitrine rebuild"):
        index.search(alias, UNIT[None], 10, on_sale)

    new = new_collection()
    index.upsert(new, rows[:3])
    index.set_alias(alias, new)
    wait_for(
        "searches see what was written", lambda: len(index.search(alias, UNIT[None], 10, on_sale)[0]) == 3
    )
    index.set_alias(alias, old)

    def refused() -> bool:
        try:
            index.search(alias, UNIT[None], 10, on_sale)
        except Conflict:
            return True
        return False

    wait_for("it is seen", refused)
    index.set_alias(alias, new)
    index.drop(old)


def test_a_collection_that_was_made_again_gets_the_fields_that_it_has_now(milvus_index: MilvusIndex) -> None:
    """The client remembers fields: it must see that they are others, whoever made the collection again."""
    index = milvus_index
    name = unique("again")
    schema = new_schema(DIM)
    schema.fields[:] = [field for field in schema.fields if field.name not in ("facts", "ordered")]
    index._call("create_collection", name, schema=schema, index_params=index_params())
    product = ProductIn(category="chairs", tags=["sale"])
    row = index_row("p", product, filter_fields(product), "image", 0, UNIT)
    index.upsert(name, [row])
    # By another process.
    index._call("drop_collection", name)
    index._call("create_collection", name, schema=new_schema(DIM), index_params=index_params())
    index.upsert(name, [row])
    wait_for("it is found", lambda: index.search(name, UNIT[None], 1, parse("tags contains 'sale'"))[0])
    index.drop(name)


def test_a_new_collection_takes_rows_before_it_is_loaded_and_a_search_waits_for_it(
    index: Index,
) -> None:
    name = unique("early")
    index.create(name, DIM, wait=False)
    index.upsert(name, index_rows(3))
    assert index.count(name) == 3
    wait_for("they are found", lambda: len(index.search(name, UNIT[None], 10)[0]) == 3)
    index.delete(name, ["p0-0"])
    index.drop(name)
    assert name not in index.collections()


def test_create_is_idempotent_and_refuses_another_dim(index: Index, new_collection: NewCollection) -> None:
    name = new_collection()
    index.upsert(name, index_rows(3))
    index.create(name, DIM)
    assert index.count(name) == 3
    with pytest.raises(Misconfigured):
        index.create(name, DIM * 2)
    assert name in index.collections()


def test_a_collection_in_use_under_an_alias_is_not_dropped(
    index: Index, new_collection: NewCollection
) -> None:
    name, other, alias = new_collection(), new_collection(), unique("alias")
    assert index.resolve_alias(alias) is None
    index.set_alias(alias, name)
    assert index.resolve_alias(alias) == name
    for used in (name, alias):
        with pytest.raises(Conflict):
            index.drop(used)
    assert name in index.collections()
    index.set_alias(alias, other)
    assert index.resolve_alias(alias) == other
    index.drop(name)
    assert name not in index.collections()
    index.drop(name)


def test_an_alias_that_cannot_be_set_raises_nothing_and_changes_nothing(
    index: Index, new_collection: NewCollection
) -> None:
    """No search uses the alias: a job must not fail because of it."""
    name, alias = new_collection(), unique("alias")
    index.set_alias(alias, name)
    index.set_alias(name, name)
    index.set_alias(alias, unique("missing"))
    assert index.resolve_alias(alias) == name
    assert index.resolve_alias(name) is None


def test_a_missing_collection_is_not_found_by_any_call(index: Index) -> None:
    name = unique("missing")
    calls: list[Callable[[], object]] = [
        lambda: index.upsert(name, index_rows(1)),
        lambda: index.delete(name, ["a"]),
        lambda: index.search(name, UNIT[None], 3),
        lambda: index.count(name),
        lambda: set(index.sorted_keys(name)),
        lambda: index.flush(name),
        lambda: index.ensure_loaded(name),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            call()


def test_a_released_collection_is_loaded_by_the_first_search(
    milvus_index: MilvusIndex, new_collection: NewCollection
) -> None:
    index = milvus_index
    name = new_collection()
    index.upsert(name, index_rows(30))
    index._call("release_collection", name)
    wait_for("it is seen", lambda: len(index.search(name, UNIT[None], 30)[0]) == 30)
