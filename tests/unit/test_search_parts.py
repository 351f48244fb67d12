"""The parts of a search that need no service: groups and pages, cursors, examples, what is kept."""

from __future__ import annotations

import numpy as np
import pytest

from shared.contracts import SearchOptions
from shared.errors import InvalidInput
from shared.searches.cursors import WHOLE, Cursor, read_cursor
from worker.search.choosing import pages, rank_candidates
from worker.search.combining import apply_examples, merge_photos
from worker.search.embedding_reuse import merge_stored, reuse, round_embeddings
from worker.search.stages import Candidate
from worker.vector_index.contract import IndexHit
from worker.vision import Detection, Embeddings
from worker.vision.pipeline import QueryEmbedding

ID = "5d8d1070-1c1c-4b6e-9a51-0123456789ab"


def offer(**scores: float) -> list[Candidate]:
    found = [
        Candidate(product, f"{product}-image", 0, score, 0, 0, score) for product, score in scores.items()
    ]
    return sorted(found, key=lambda c: -c.score)


def names(page: list[list[Candidate]]) -> list[list[str]]:
    return [[c.product_id for c in group] for group in page]


def unit(*rows: list[float]) -> Embeddings:
    found = np.asarray(rows, np.float32)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def test_a_product_is_once_where_it_is_most_alike_and_the_whole_image_has_its_own() -> None:
    chair, lamp = offer(a=0.9, b=0.8, c=0.3), offer(b=0.85, c=0.5, a=0.4)
    whole = offer(a=0.95, b=0.94, d=0.2)
    assert [names(page) for page in pages([chair, lamp, whole], 2, repeat=False)] == [
        [["a"], ["b", "c"], ["a", "b"]],
        [[], [], ["d"]],
    ]


def test_a_full_group_leaves_a_product_to_the_next_best() -> None:
    first = next(pages([offer(a=0.9, b=0.8), offer(b=0.5), []], 1, repeat=False))
    assert names(first) == [["a"], ["b"], []]


def test_with_repeat_each_group_has_its_own_nearest() -> None:
    first = next(pages([offer(a=0.9, b=0.8), offer(a=0.5), offer(b=0.7, a=0.6)], 2, repeat=True))
    assert names(first) == [["a", "b"], ["a"], ["b", "a"]]


def test_a_doubtful_object_takes_no_product_from_the_others() -> None:
    chair, lamp, doubtful = offer(a=0.9, b=0.8), offer(c=0.7, b=0.6), offer(a=0.95, c=0.9, d=0.1)
    groups = [chair, lamp, doubtful, []]
    taken = next(pages(groups, 2, repeat=False))
    apart = next(pages(groups, 2, repeat=False, apart=[2]))
    assert names(taken) == [["b"], [], ["a", "c"], []]
    assert names(apart) == [["a", "b"], ["c"], ["a", "c"], []]
    seen = [{c.product_id for c in group} for group in apart]
    assert names(next(pages(groups, 2, repeat=False, seen=seen, apart=[2]))) == [[], [], ["d"], []]


@pytest.mark.parametrize("repeat", [False, True])
def test_pages_neither_repeat_nor_skip(repeat: bool) -> None:
    chance = np.random.default_rng(3)
    groups = [
        offer(**{f"p{n}": float(chance.random()) for n in chance.permutation(90)[:70]}) for _ in range(3)
    ]
    first = next(pages(groups, 4, repeat))
    seen = [{c.product_id for c in group} for group in first]
    further = list(pages(groups, 4, repeat, seen))
    lines = [[c.product_id for page in [first, *further] for c in page[n]] for n in range(3)]
    assert all(len(line) == len(set(line)) for line in lines)
    if repeat:
        assert lines == [[c.product_id for c in group] for group in groups]
    else:
        of_objects = {c.product_id for group in groups[:-1] for c in group}
        assert sorted(product for line in lines[:-1] for product in line) == sorted(of_objects)
        assert lines[-1] == [c.product_id for c in groups[-1]]
    # What was found deeper down changes no page that was full.
    deeper = [[*group, *offer(**{f"far{k}-{n}": 0.0 for k in range(5)})] for n, group in enumerate(groups)]
    assert names(next(pages(deeper, 4, repeat))) == names(first)


def test_a_products_best_row_speaks_for_it() -> None:
    rows = [IndexHit(f"{i}-0", p, i, 0, s) for p, i, s in [("a", "1", 0.5), ("b", "2", 0.7), ("a", "3", 0.9)]]
    found = rank_candidates([(0, rows[:2]), (1, rows[2:])], min_score=0.6)
    assert [(c.product_id, c.image_id, c.source) for c in found] == [("a", "3", 1), ("b", "2", 0)]
    assert [c.product_id for c in rank_candidates([(0, rows)], None, {"a"})] == ["b"]
    assert [c.product_id for c in rank_candidates([(0, rows)], 0.9)] == ["a"]


@pytest.mark.parametrize("cursor", [Cursor(ID, WHOLE, 0), Cursor(ID, 7, 1234)])
def test_a_cursor_comes_back(cursor: Cursor) -> None:
    assert read_cursor(cursor.text()) == cursor
    assert ID not in cursor.text()


@pytest.mark.parametrize("text", ["", "x", "é", "a" * 200, Cursor(ID, 0, 5).text()[:-2], "Li4uLi4"])
def test_what_is_no_cursor_is_said_to_be_none(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_cursor(text)
    assert caught.value.field == "after"


def test_examples_move_the_query_towards_and_away() -> None:
    query, liked, unliked = unit([1, 0, 0]), unit([0, 1, 0], [0, 1, 0]), unit([0, 0, 1])
    found = apply_examples(query, liked, unliked)
    assert found[0] == pytest.approx(unit([1, 0.75, -0.15])[0])
    assert apply_examples(query, liked[:0], liked[:0])[0] == pytest.approx(query[0])
    assert apply_examples(np.zeros((1, 3), np.float32), liked, unliked[:0])[0] == pytest.approx(liked[0])
    assert apply_examples(unit([0.1, 0, 0]), liked[:0], unliked[:0])[0] == pytest.approx([1, 0, 0])


def test_several_photos_become_one_thing() -> None:
    seen = Detection((0.2, 0.2, 0.6, 0.6), "product", 0.9)
    front = QueryEmbedding((seen, seen), unit([1, 0, 0], [0, 0, 1], [1, 1, 0]), {})
    side = QueryEmbedding((), unit([0, 1, 0]), {})
    both = merge_photos([front, side])
    assert both.objects == (seen,)
    assert both.embeddings[0] == pytest.approx(unit([1, 1, 0])[0])
    assert len(both.embeddings) == 2
    assert merge_photos([side, front]).objects[0].box == (0, 0, 1, 1)
    assert merge_photos([side, side]).objects == ()


def test_what_is_kept_is_used_again_where_it_answers() -> None:
    box = (0.1, 0.1, 0.5, 0.5)
    seen = Detection((0.3, 0.3, 0.9, 0.9), "product", 0.8)
    found = QueryEmbedding((seen,), round_embeddings(unit([1, 2, 3], [3, 2, 1])), {})
    kept = merge_stored(found, SearchOptions(), 7, None)
    again = reuse(kept, SearchOptions())
    assert again is not None
    assert again.objects == (seen,)
    assert again.embeddings == pytest.approx(found.embeddings, abs=1e-6)
    assert reuse(kept, SearchOptions(box=box)) is None
    near = reuse(kept, SearchOptions(box=(0.3, 0.301, 0.9, 0.9)))
    assert near is not None
    assert near.embeddings == pytest.approx(found.embeddings, abs=1e-6)
    whole = reuse(kept, SearchOptions(detect=False))
    assert whole is not None
    assert (whole.objects, len(whole.embeddings)) == ((), 1)

    crop = QueryEmbedding((Detection(box, "box", 1.0),), round_embeddings(unit([5, 1, 1], [3, 2, 1])), {})
    more = merge_stored(crop, SearchOptions(box=box), 7, kept)
    drawn, all_of_it = reuse(more, SearchOptions(box=box)), reuse(more, SearchOptions())
    assert drawn is not None
    assert drawn.embeddings[0] == pytest.approx(crop.embeddings[0], abs=1e-6)
    assert all_of_it is not None
    assert all_of_it.objects == (seen,)
    # A crop alone does not say what the photo shows, nor do embeddings of other models.
    assert reuse(merge_stored(crop, SearchOptions(box=box), 8, kept), SearchOptions()) is None
