"""What a calibration says of a query's hits: how probable each is, and which are probable enough."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from worker.calibration.calibration_store import Calibration, MatchKind, QueryPart
from worker.calibration.score_map import Hits
from worker.search.grouping import best_two, shown
from worker.search.query import Query
from worker.vector_index.contract import IndexHit

#: Of probabilities, as they are shown.
DIGITS = 4
#: No score is so high.
_NO_SCORE = 2.0

#: That it is the product asked for, and that it is of its category; None where nothing is known.
Sure = tuple[float | None, float | None]


def min_score(query: Query, group: int) -> float | None:
    """Return the score below which a group's hits are left out, as shown; None where none is."""
    options, known = query.options, query.calibration
    if options.min_probability is None or known is None:
        return options.min_score
    map_, hits = known.map_of("same", part_of(query, group)), _neighbours(query, group)
    # What is shown is rounded: a probability taken from an answer is a limit that includes it.
    wanted = options.min_probability - 0.5 * 10**-DIGITS
    least = None
    if map_ is not None and hits:
        least = map_.min_score(wanted, *best_two(hits), _agreement(query, known, group))
    if least is None:
        return _NO_SCORE
    return least if options.min_score is None else max(least, options.min_score)


def part_of(query: Query, group: int) -> QueryPart:
    if group < len(query.objects):
        return "object"
    return "whole" if query.objects else "alone"


def _neighbours(query: Query, group: int) -> list[IndexHit]:
    """Those of a photo's group, which has one embedding."""
    return query.hits[query.groups[group][0]]


def _agreement(query: Query, known: Calibration, group: int) -> float:
    """How probable an object calls the first hit of the whole photo; 0 for the group of an object."""
    object_map, hits = known.map_of("same", "object"), _neighbours(query, group)
    if group < len(query.objects) or object_map is None or not hits:
        return 0.0
    first, rows = hits[0].product_id, []
    for number in range(len(query.objects)):
        found = _neighbours(query, number)
        same = next((hit for hit in found if hit.product_id == first), None)
        if same is not None:
            best, second = best_two(found)
            rows.append((shown(same.score), best, best if second is None else second, 0.0))
    return float(object_map(_hits(rows)).max()) if rows else 0.0


def _hits(rows: Sequence[tuple[float, float, float, float]]) -> Hits:
    return Hits(*np.array(rows, np.float64).T)


def sure_of(query: Query) -> list[list[Sure]]:
    """Return for each chosen hit the probability of being the same product, and one of its category."""
    unknown: list[list[float | None]] = [[None] * len(chosen) for chosen in query.chosen]
    if query.calibration is None:
        same = kind = unknown
    else:
        features = [_group_features(query, query.calibration, group) for group in range(len(query.chosen))]
        same = _apply_maps(query, query.calibration, "same", features)
        kind = _apply_maps(query, query.calibration, "kind", features)
    return [list(zip(*pair, strict=True)) for pair in zip(same, kind, strict=True)]


def _group_features(query: Query, known: Calibration, group: int) -> tuple[float, float, float]:
    """Return the scores of a group's best two products, and the agreement of the objects."""
    if not query.chosen[group]:
        return 0.0, 0.0, 0.0
    first, second = best_two(_neighbours(query, group))
    return first, first if second is None else second, _agreement(query, known, group)


def _apply_maps(
    query: Query, known: Calibration, what: MatchKind, features: Sequence[tuple[float, float, float]]
) -> list[list[float | None]]:
    """Return the probability of each chosen hit, of all groups in one call of a map."""
    found: list[list[float | None]] = [[None] * len(chosen) for chosen in query.chosen]
    for part in sorted({part_of(query, group) for group in range(len(found))}):
        map_ = known.map_of(what, part)
        groups = [n for n in range(len(found)) if part_of(query, n) == part and found[n]]
        if map_ is None or not groups:
            continue
        rows = [(c.score, *features[n]) for n in groups for c in query.chosen[n]]
        said = iter(np.round(map_(_hits(rows)), DIGITS).tolist())
        for n in groups:
            found[n] = [next(said) for _ in query.chosen[n]]
    return found
