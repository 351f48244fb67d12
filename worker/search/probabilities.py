"""Apply a calibration to a query: minimum scores of its groups, and probabilities of its hits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from worker.calibration.calibration_store import Calibration, MatchKind, QueryPart
from worker.calibration.score_map import Hits
from worker.search.choosing import best_two, to_shown
from worker.search.stages import Groups, MatchedQuery
from worker.vector_index.contract import IndexHit

#: Decimals of probabilities in answers.
DIGITS = 4
#: Above every score.
_ABOVE = 2.0

#: Probability that a hit is the searched product, and that it is of its category; None where unknown.
HitProbability = tuple[float | None, float | None]


def find_min_scores(query: MatchedQuery) -> list[float | None]:
    """Return the score of each group below which hits are left out, as shown; None: no minimum."""
    options, calibration = query.query.claim.options, query.query.calibration
    groups = range(len(query.embedded.groups))
    if options.min_probability is None or calibration is None:
        return [options.min_score for _ in groups]
    return [_min_score(query, calibration, n, options.min_probability, options.min_score) for n in groups]


def _min_score(
    query: MatchedQuery,
    calibration: Calibration,
    group: int,
    min_probability: float,
    min_score: float | None,
) -> float:
    score_map, hits = calibration.map_of("same", _part_of(query, group)), _neighbours(query, group)
    # Answers show rounded probabilities: one copied from an answer is a limit that includes it.
    limit = min_probability - 0.5 * 10**-DIGITS
    found = None
    if score_map is not None and hits:
        found = score_map.min_score(limit, *best_two(hits), _agreement(query, calibration, group))
    if found is None:
        return _ABOVE
    return found if min_score is None else max(found, min_score)


def _part_of(query: MatchedQuery, group: int) -> QueryPart:
    if group < len(query.embedded.objects):
        return "object"
    return "whole" if query.embedded.objects else "alone"


def _neighbours(query: MatchedQuery, group: int) -> list[IndexHit]:
    """Return the neighbours of a group of a photo, which has one embedding."""
    return query.hits[query.embedded.groups[group][0]]


def _agreement(query: MatchedQuery, calibration: Calibration, group: int) -> float:
    """Return the highest probability by which an object finds the whole photo's first hit; 0 for objects."""
    object_map, hits = calibration.map_of("same", "object"), _neighbours(query, group)
    if group < len(query.embedded.objects) or object_map is None or not hits:
        return 0.0
    first, rows = hits[0].product_id, []
    for number in range(len(query.embedded.objects)):
        found = _neighbours(query, number)
        same = next((hit for hit in found if hit.product_id == first), None)
        if same is not None:
            best, second = best_two(found)
            rows.append((to_shown(same.score), best, best if second is None else second, 0.0))
    return float(object_map(_to_hits(rows)).max()) if rows else 0.0


def _to_hits(rows: Sequence[tuple[float, float, float, float]]) -> Hits:
    return Hits(*np.array(rows, np.float64).T)


def rate_hits(query: MatchedQuery, chosen: Groups) -> list[list[HitProbability]]:
    """Return the probabilities of each chosen hit."""
    calibration = query.query.calibration
    if calibration is None:
        return [[(None, None) for _ in group] for group in chosen]
    features = [_group_features(query, calibration, n, group) for n, group in enumerate(chosen)]
    same = _apply_maps(query, calibration, "same", chosen, features)
    kind = _apply_maps(query, calibration, "kind", chosen, features)
    return [list(zip(*pair, strict=True)) for pair in zip(same, kind, strict=True)]


def _group_features(
    query: MatchedQuery, calibration: Calibration, number: int, group: Sequence[object]
) -> tuple[float, float, float]:
    """Return what a map needs besides a hit's score: the group's best two scores, and the agreement."""
    if not group:
        return 0.0, 0.0, 0.0
    first, second = best_two(_neighbours(query, number))
    return first, first if second is None else second, _agreement(query, calibration, number)


def _apply_maps(
    query: MatchedQuery,
    calibration: Calibration,
    what: MatchKind,
    chosen: Groups,
    features: Sequence[tuple[float, float, float]],
) -> list[list[float | None]]:
    """Return the probability of each chosen hit, with one call per map: a call costs more than a hit."""
    found: list[list[float | None]] = [[None] * len(group) for group in chosen]
    for part in sorted({_part_of(query, n) for n in range(len(chosen))}):
        score_map = calibration.map_of(what, part)
        numbers = [n for n in range(len(chosen)) if _part_of(query, n) == part and chosen[n]]
        if score_map is None or not numbers:
            continue
        rows = [(c.score, *features[n]) for n in numbers for c in chosen[n]]
        rated = iter(np.round(score_map(_to_hits(rows)), DIGITS).tolist())
        for n in numbers:
            found[n] = [next(rated) for _ in chosen[n]]
    return found
