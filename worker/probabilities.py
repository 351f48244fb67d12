"""What a calibration says of a query's hits: how probable each is, and which are probable enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from worker.calibration.known import Part
from worker.calibration.score_map import ScoreMap
from worker.grouping import best_two
from worker.query import Query
from worker.vision import IndexHit

#: Of probabilities, as they are shown.
DIGITS = 4
#: No score is so high.
_NO_SCORE = 2.0

#: That it is the product asked for, and that it is of its category; None where nothing is known.
Sure = tuple[float | None, float | None]


def least_score(query: Query, group: int) -> float | None:
    """Return the score below which a group's hits are left out, as shown; None where none is."""
    options = query.options
    if options.min_probability is None or query.calibration is None:
        return options.min_score
    map_, hits = query.calibration.same.get(part_of(query, group)), _neighbours(query, group)
    # What is shown is rounded: a probability taken from an answer is a limit that includes it.
    wanted = options.min_probability - 0.5 * 10**-DIGITS
    least = None if map_ is None or not hits else map_.least_score(wanted, *best_two(hits))
    if least is None:
        return _NO_SCORE
    return least if options.min_score is None else max(least, options.min_score)


def part_of(query: Query, group: int) -> Part:
    return "object" if group < len(query.objects) else "whole"


def _neighbours(query: Query, group: int) -> list[IndexHit]:
    """Those of a photo's group, which has one embedding."""
    return query.hits[query.groups[group][0]]


def sure_of(query: Query) -> list[list[Sure]]:
    """How probable it is of each chosen hit that it is the product asked for, and one of its kind."""
    unknown: list[list[float | None]] = [[None] * len(chosen) for chosen in query.chosen]
    if query.calibration is None:
        same = kind = unknown
    else:
        leads = [_leads(query, group) for group in range(len(query.chosen))]
        same = _said(query, query.calibration.same, leads)
        kind = _said(query, query.calibration.kind, leads)
    return [list(zip(*pair, strict=True)) for pair in zip(same, kind, strict=True)]


def _leads(query: Query, group: int) -> list[float]:
    chosen = query.chosen[group]
    if not chosen:
        return []
    first, second = best_two(_neighbours(query, group))
    ahead = first - (first if second is None else second)
    return [c.score - first if c.score < first else ahead for c in chosen]


def _said(
    query: Query, maps: Mapping[Part, ScoreMap], leads: Sequence[Sequence[float]]
) -> list[list[float | None]]:
    """What the maps say of each chosen hit: of all groups at once, for a call takes longer than a hit."""
    found: list[list[float | None]] = [[None] * len(chosen) for chosen in query.chosen]
    for part, map_ in maps.items():
        groups = [n for n in range(len(found)) if part_of(query, n) == part]
        scores = [c.score for n in groups for c in query.chosen[n]]
        if not scores:
            continue
        of_hits = np.array([lead for n in groups for lead in leads[n]], np.float64)
        said = iter(np.round(map_(np.array(scores, np.float64), of_hits), DIGITS).tolist())
        for n in groups:
            found[n] = [next(said) for _ in query.chosen[n]]
    return found
