"""Build the result of a search, rated by its calibration. Pure: products were loaded before."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from shared.catalogue.display import choose_title, image_url, trim_price
from shared.contracts import FoundObject, Hit, SearchResult, WholeImage
from shared.contracts.base import Box
from shared.contracts.search import Explanation, PredictedCategory
from shared.filters import format_filter
from shared.searches.cursors import WHOLE
from worker.calibration.calibration_store import SPREAD, Calibration, MatchKind, QueryPart, predict_category
from worker.calibration.score_map import Hits
from worker.search.candidates import CandidateTable
from worker.search.choosing import best_two, boost_window, to_shown
from worker.search.stages import Candidate, Choice, Groups, MatchedQuery, Query
from worker.vector_index.contract import IndexHit

_WHOLE_IMAGE = (0.0, 0.0, 1.0, 1.0)
#: Decimals of probabilities in answers.
DIGITS = 4
#: Above every score.
_ABOVE = 2.0

#: Probability that a hit is the searched product, and that it is of its category; None where unknown.
HitProbability = tuple[float | None, float | None]


def build_result(matched: MatchedQuery, choice: Choice, table: CandidateTable) -> SearchResult:
    """Build the result, except for its timings.

    Args:
        table: has all products of the choice.
    """
    query, embedded = matched.query, matched.embedded
    hits = _build_hits(matched, choice, table)
    categories = [_find_category(query, choice, table, group) for group in range(len(hits))]
    following = [None if cursor is None else cursor.text() for cursor in choice.following]
    objects = [
        FoundObject(
            box=_clip_box(found.box),
            label=found.label,
            confidence=round(found.confidence, 4),
            doubtful=n in embedded.doubtful,
            hits=hits[n],
            category=categories[n],
            next=following[n],
        )
        for n, found in enumerate(embedded.objects)
    ]
    if query.page is not None:
        group = query.page.cursor.group
        objects = [] if group == WHOLE else objects[group : group + 1]
    return SearchResult(
        query_id=query.claim.id,
        catalogue=query.claim.catalogue,
        filter=None if query.filter is None else format_filter(query.filter),
        calibration=None if query.calibration is None else query.calibration.source,
        objects=objects,
        whole=WholeImage(hits=hits[-1], category=categories[-1], next=following[-1]),
        timings_ms={},
        models={
            "detector": query.models.detector,
            "embedder": query.models.embedder,
            "index": query.live.collection,
            "index_version": str(query.live.number),
        },
    )


def _build_hits(matched: MatchedQuery, choice: Choice, table: CandidateTable) -> list[list[Hit]]:
    """Return the hits of each object, and of the whole image last."""
    query, embedded = matched.query, matched.embedded
    boxes = [
        *(_clip_box(found.box) for found in embedded.objects),
        _WHOLE_IMAGE if query.claim.photos else None,
    ]
    pictures, locale = embedded.picture_ids, query.claim.options.locale
    return [
        [
            _to_hit(
                table,
                candidate,
                locale,
                box,
                pictures[candidate.source] if pictures else None,
                probability,
                _explain(matched, table, candidate),
            )
            for candidate, probability in zip(group, probabilities, strict=True)
        ]
        for box, group, probabilities in zip(
            boxes, choice.chosen, rate_hits(matched, choice.chosen), strict=True
        )
    ]


def _explain(matched: MatchedQuery, table: CandidateTable, candidate: Candidate) -> Explanation | None:
    """Return how boosts ordered a hit; None without boosts."""
    boosting = matched.query.boosting
    if not boosting.boosts:
        return None
    if candidate.rank >= boost_window(matched):
        return Explanation(ordered_by=candidate.score, boosts=[])
    return Explanation(ordered_by=candidate.order, boosts=list(table.find_boosts(candidate, boosting)))


def _find_category(
    query: Query, choice: Choice, table: CandidateTable, group: int
) -> PredictedCategory | None:
    """Return the category of a group's nearest products, or the requested one; None on further pages."""
    if query.page is not None:
        return None
    requested = query.claim.options.category
    if requested is not None:
        return PredictedCategory(value=requested, confidence=1.0, given=True)
    spread = SPREAD if query.calibration is None else query.calibration.spread
    voters = ((table.products[candidate.product_id], candidate.score) for candidate in choice.voters[group])
    found = predict_category([(str(row.category), score) for row, score in voters if row is not None], spread)
    if found is None:
        return None
    return PredictedCategory(value=found[0], confidence=round(found[1], DIGITS), given=False)


def _to_hit(
    table: CandidateTable,
    candidate: Candidate,
    locale: str,
    query_box: Box | None,
    query_image_id: str | None,
    probability: HitProbability,
    explanation: Explanation | None,
) -> Hit:
    """Return the product as an answer shows it.

    Args:
        query_box, query_image_id: the part of the query that it matches.
    """
    product = table.products[candidate.product_id]
    stored = table.objects[candidate.image_id].get(candidate.number)
    price: Decimal | None = product.price
    return Hit(
        product_id=candidate.product_id,
        score=candidate.score,
        probability=probability[0],
        probability_kind=probability[1],
        image_id=candidate.image_id,
        image_url=image_url(candidate.image_id),
        title=choose_title(product.titles, locale, candidate.product_id),
        category=product.category,
        price=trim_price(price),
        currency=(product.currency or table.currency) if price is not None else None,
        url=product.url,
        box=_clip_box(stored.box) if stored else None,
        query_box=query_box,
        query_image_id=query_image_id,
        explanation=explanation,
    )


def _clip_box(box: Box) -> Box:
    """Return the box rounded, and clipped to the picture."""
    x0, y0, x1, y1 = (round(min(max(float(v), 0.0), 1.0), 5) for v in box)
    return x0, y0, x1, y1


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
