"""What a calibration says of a query: objects speak for the whole photo, and only for its first hit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from shared.contracts import SearchOptions
from worker.calibration.calibration_store import Calibration
from worker.calibration.score_map import ScoreMap
from worker.search.boosting import Boosting
from worker.search.grouping import Candidate, candidates
from worker.search.probabilities import DIGITS, min_score, sure_of
from worker.search.query import Query
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


def query(*groups: list[IndexHit], **options: Any) -> Query:
    """Hits of each object and, last, of the whole photo; everything is shown."""
    wanted = SearchOptions.model_validate({"catalogue": "shop", **options})
    claim: Any = SimpleNamespace(options=wanted)
    nothing: Any = None
    asked = Query(claim, nothing, nothing, 1, None, Boosting.of([]), CALIBRATION)
    asked.objects = (Detection((0.0, 0.0, 0.5, 0.5), "product", 0.9),) * (len(groups) - 1)
    asked.embeddings = np.zeros((len(groups), 4), np.float32)
    asked.hits = list(groups)
    asked.chosen = [shown(asked, n) for n in range(len(groups))]
    return asked


def shown(asked: Query, group: int) -> list[Candidate]:
    return candidates([(group, asked.hits[group])], min_score(asked, group))


def predicted(asked: Query, group: int = -1) -> list[float]:
    found = [same for same, _ in sure_of(asked)[group]]
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
    kinds = [[kind for _, kind in group] for group in sure_of(query(rows(chair=0.9), whole))]
    assert kinds[0] == [None]
    assert kinds[1][0] == pytest.approx(ALONE.one(0.6, 0.6, 0.5), abs=1e-4)
    assert sure_of(query(whole))[0][0][1] == kinds[1][0]


def test_a_probability_taken_from_an_answer_is_a_limit_that_includes_it() -> None:
    whole, found = rows(chair=0.6, lamp=0.599, vase=0.3), rows(chair=0.9, vase=0.5)
    before = predicted(query(found, whole))
    for place, limit in enumerate(before):
        kept = query(found, whole, min_probability=limit).chosen[1]
        assert [c.score for c in kept] == [hit.score for hit in whole[: place + 1]]
    assert query(found, whole, min_probability=round(before[0] + 10**-DIGITS, DIGITS)).chosen[1] == []
    # The control: without the object the same limit lets nothing through.
    assert query(rows(vase=0.5), whole, min_probability=before[0]).chosen[1] == []
