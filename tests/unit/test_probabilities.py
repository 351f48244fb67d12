"""What a calibration says of a query: objects speak for the whole photo, and only for its first hit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from shared.contracts import SearchOptions
from worker.calibration.calibration_store import Calibration
from worker.calibration.score_map import ScoreMap
from worker.search.answering import DIGITS, find_min_scores, rate_hits
from worker.search.boosting import NO_BOOSTS
from worker.search.choosing import rank
from worker.search.stages import Candidate, EmbeddedQuery, MatchedQuery, Models, Query
from worker.vector_index.contract import IndexHit
from worker.vision import Detection

OBJECT = ScoreMap((-10.0, 15.0, 10.0, 20.0, 0.0, 0.0))
WHOLE = ScoreMap((-4.0, 4.0, 0.0, 14.0, -2.5, 1.2))
ALONE = ScoreMap((-4.0, 6.0, 18.0, 13.0, 0.0, 0.0))
CALIBRATION = Calibration("catalogue", {"object": OBJECT, "whole": WHOLE, "alone": ALONE}, {"whole": ALONE})


def rows(**scores: float) -> list[IndexHit]:
    return [
        IndexHit(f"{product}-image-0", product, f"{product}-image", 0, score)
        for product, score in scores.items()
    ]


def query(*groups: list[IndexHit], **options: Any) -> MatchedQuery:
    """Return a query with the hits of each object and, last, of the whole photo."""
    claim: Any = SimpleNamespace(options=SearchOptions.model_validate({"catalogue": "shop", **options}))
    nothing: Any = None
    asked = Query(claim, nothing, nothing, Models(1, "none", "tests"), None, NO_BOOSTS, CALIBRATION, 10)
    objects = (Detection((0.0, 0.0, 0.5, 0.5), "product", 0.9),) * (len(groups) - 1)
    embeddings = np.zeros((len(groups), 4), np.float32)
    embedded = EmbeddedQuery(asked, objects, embeddings, [[n] for n in range(len(groups))], frozenset())
    return MatchedQuery(asked, embedded, 10, list(groups))


def shown(asked: MatchedQuery) -> list[list[Candidate]]:
    """Return all candidates above the minimum scores, as if every one was shown."""
    return [list(group) for group in rank(asked, find_min_scores(asked)).nearest]


def with_all(asked: MatchedQuery) -> tuple[MatchedQuery, list[list[Candidate]]]:
    return asked, shown(asked)


def predicted(asked: MatchedQuery, group: int = -1) -> list[float]:
    found = [same for same, _ in rate_hits(*with_all(asked))[group]]
    return [each for each in found if each is not None]


def test_the_surest_object_that_found_the_first_hit_speaks_for_it() -> None:
    whole = rows(chair=0.6, lamp=0.59, vase=0.3)
    sure, unsure = rows(chair=0.9, vase=0.5), rows(lamp=0.6, chair=0.55)
    agreement = OBJECT.one(0.9, 0.9, 0.5)
    both = predicted(query(unsure, sure, whole))
    assert both[0] == pytest.approx(WHOLE.one(0.6, 0.6, 0.59, agreement), abs=1e-4)
    assert both[0] > 0.5
    assert both == sorted(both, reverse=True)
    # The control: an object that is sure of another product than the first says nothing for it.
    other = predicted(query(rows(lamp=0.9, vase=0.5), whole))
    assert other[0] == pytest.approx(WHOLE.one(0.6, 0.6, 0.59), abs=1e-4)
    assert other[0] < 0.1
    assert other == sorted(other, reverse=True), "the second is never the more probable"
    # Nor is anything predicted for an object's own hits.
    assert predicted(query(sure, whole), 0)[0] == pytest.approx(agreement, abs=1e-4)


def test_a_whole_photo_without_objects_has_a_map_of_its_own() -> None:
    whole = rows(chair=0.6, lamp=0.5)
    assert predicted(query(whole)) == [
        pytest.approx(ALONE.one(score, 0.6, 0.5), abs=1e-4) for score in (0.6, 0.5)
    ]
    # A kind without a map for it takes the other one of whole photos; objects have none at all.
    kinds = [[kind for _, kind in group] for group in rate_hits(*with_all(query(rows(chair=0.9), whole)))]
    assert kinds[0] == [None]
    assert kinds[1][0] == pytest.approx(ALONE.one(0.6, 0.6, 0.5), abs=1e-4)
    assert rate_hits(*with_all(query(whole)))[0][0][1] == kinds[1][0]


def test_a_probability_taken_from_an_answer_is_a_limit_that_includes_it() -> None:
    whole, found = rows(chair=0.6, lamp=0.599, vase=0.3), rows(chair=0.9, vase=0.5)
    before = predicted(query(found, whole))
    for place, limit in enumerate(before):
        kept = shown(query(found, whole, min_probability=limit))[1]
        assert [c.score for c in kept] == [hit.score for hit in whole[: place + 1]]
    assert shown(query(found, whole, min_probability=round(before[0] + 10**-DIGITS, DIGITS)))[1] == []
    # The control: without the object the same limit lets nothing through.
    assert shown(query(rows(vase=0.5), whole, min_probability=before[0]))[1] == []
