"""Build the result of a search from what was chosen. Pure: products were loaded before."""

from __future__ import annotations

from shared.contracts import FoundObject, Hit, SearchResult, WholeImage
from shared.contracts.search import Explanation, PredictedCategory
from shared.filters import format_filter
from shared.searches.cursors import WHOLE
from worker.calibration.category import SPREAD, predict_category
from worker.search.candidates import CandidateTable, clip_box
from worker.search.choosing import boost_window
from worker.search.probabilities import DIGITS, rate_hits
from worker.search.stages import Candidate, Choice, MatchedQuery, Query

_WHOLE_IMAGE = (0.0, 0.0, 1.0, 1.0)


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
            box=clip_box(found.box),
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
            **query.pipeline.versions,
            "index": query.live.collection,
            "index_version": str(query.live.number),
        },
    )


def _build_hits(matched: MatchedQuery, choice: Choice, table: CandidateTable) -> list[list[Hit]]:
    """Return the hits of each object, and of the whole image last."""
    query, embedded = matched.query, matched.embedded
    boxes = [
        *(clip_box(found.box) for found in embedded.objects),
        _WHOLE_IMAGE if query.claim.photos else None,
    ]
    pictures, locale = embedded.picture_ids, query.claim.options.locale
    return [
        [
            table.to_hit(
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
    found = predict_category(table.list_categories(choice.voters[group]), spread)
    if found is None:
        return None
    return PredictedCategory(value=found[0], confidence=round(found[1], DIGITS), given=False)
