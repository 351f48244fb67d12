"""Collect labelled hits of composed photos, and fit a calibration to them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from worker.calibration.calibration_store import (
    Calibration,
    MatchKind,
    QueryPart,
    fit_spread,
    predict_category,
)
from worker.calibration.composed import Photo
from worker.calibration.diagram import draw_reliability
from worker.calibration.fitting import HITS, MIN_RIGHT, FittedMap, Samples, fit
from worker.calibration.reliability import measure_calibration
from worker.calibration.score_map import ScoreMap
from worker.vision.crops import match, to_boxes
from worker.vision.pipeline import QueryEmbedding

#: Minimum IoU of a detection with a product's box that counts as the same object.
_SAME_OBJECT_IOU = 0.5
PARTS: tuple[QueryPart, ...] = ("object", "whole", "alone")
#: Hits of a query: product and score, best first, one per product.
RankedHits = Sequence[tuple[str, float]]


@dataclass(frozen=True)
class LabelledQuery:
    """A query with known right answers.

    Attributes:
        photo: number of its photo.
        part: ``object`` or ``whole``.
        right: the right products; empty where the detector found something else.
        hits: product and score, best first, one per product.
    """

    photo: int
    part: QueryPart
    right: frozenset[str]
    hits: RankedHits


def expected_answers(photo: Photo, embedded: QueryEmbedding) -> list[tuple[QueryPart, list[int]]]:
    """Return the part of each embedding, and which of the photo's products are right for it."""
    truth = np.array(photo.boxes, np.float32).reshape(-1, 4)
    pairs = {j: i for i, j in match(truth, to_boxes(list(embedded.objects)), _SAME_OBJECT_IOU)}
    objects: list[tuple[QueryPart, list[int]]] = [
        ("object", [pairs[n]] if n in pairs else []) for n in range(len(embedded.objects))
    ]
    return [*objects, ("whole", list(range(len(photo.boxes))))]


@dataclass(frozen=True)
class _JudgedQuery:
    """A query with its hits judged.

    Attributes:
        same: of each hit, whether it is right.
        kind: of each hit, whether its category is right; None where that is unknown.
    """

    query: LabelledQuery
    same: list[bool]
    kind: list[bool] | None


@dataclass
class Lessons:
    """Judged queries, from which a calibration is fitted."""

    queries: list[_JudgedQuery] = field(default_factory=list)
    votes: list[tuple[list[tuple[str, float]], str]] = field(default_factory=list)

    def learn(self, query: LabelledQuery, categories: Mapping[str, str]) -> None:
        """Judge the hits of a query and add it.

        Args:
            categories: of its products and hits; those without one may be missing.
        """
        right = query.right
        same = [product in right for product, _ in query.hits]
        kinds = {categories.get(product, "") for product in right} - {""}
        found = [(categories.get(product, ""), score) for product, score in query.hits]
        known = bool(kinds) or not right
        kind = [category in kinds for category, _ in found] if known else None
        self.queries.append(_JudgedQuery(query, same, kind))
        if query.part == "object" and kinds:
            self.votes.append((found, next(iter(kinds))))

    @property
    def right(self) -> int:
        """Return the number of right hits of the part that has most of them."""
        counts: Counter[QueryPart] = Counter()
        for judged in self.queries:
            counts[judged.query.part] += sum(judged.same[:HITS])
        return max(counts.values(), default=0)

    def enough(self) -> bool:
        """Return whether there are enough right hits for a calibration."""
        return self.right >= MIN_RIGHT

    def agreements(self, object_map: ScoreMap | None) -> dict[int, float]:
        """Return, by photo with objects, the highest probability an object gives its whole's first hit."""
        if object_map is None:
            return {}
        objects: dict[int, list[RankedHits]] = defaultdict(list)
        for judged in self.queries:
            if judged.query.part == "object" and judged.query.hits:
                objects[judged.query.photo].append(judged.query.hits)
        return {
            photo: agreement(object_map, judged.query.hits[0][0], objects[photo])
            for judged in self.queries
            if judged.query.part == "whole" and judged.query.hits
            if (photo := judged.query.photo) in objects
        }

    def samples(self, what: MatchKind, part: QueryPart, agreements: Mapping[int, float]) -> Samples:
        """Return the samples of a part's map.

        The map of the whole photo is fitted on photos with objects, and that of the whole photo alone on all
        photos, as if no object had been searched for.

        Args:
            agreements: from the method of this name.
        """
        samples, query_part = Samples(), "object" if part == "object" else "whole"
        for judged in self.queries:
            query, right = judged.query, judged.same if what == "same" else judged.kind
            if query.part != query_part or right is None:
                continue
            if part == "whole" and query.photo not in agreements:
                continue
            agreed = agreements[query.photo] if part == "whole" else 0.0
            samples.add(query.photo, [score for _, score in query.hits], right, agreed)
        return samples


def agreement(object_map: ScoreMap, product: str, objects: Sequence[RankedHits]) -> float:
    """Return the highest probability that a photo's objects give a product; 0 where none found it.

    Args:
        objects: the hits of each object, which has at least one.
    """
    return max((_probability(object_map, product, hits) for hits in objects), default=0.0)


def _probability(object_map: ScoreMap, product: str, hits: RankedHits) -> float:
    score = next((score for other, score in hits if other == product), None)
    if score is None:
        return 0.0
    return object_map.one(score, hits[0][1], hits[1][1] if len(hits) > 1 else None)


def fit_calibration(lessons: Lessons) -> tuple[Calibration, dict[str, Any]]:
    """Fit a calibration; return it with a report of each map's calibration on held-out photos.

    A part with too few right hits has no map. The report's ``diagram`` is an SVG.
    """
    object_fit = fit(lessons.samples("same", "object", {}))
    agreements = lessons.agreements(None if object_fit is None else object_fit.map)
    fitted: dict[MatchKind, dict[QueryPart, FittedMap]] = {"same": {}, "kind": {}}
    for what, maps in fitted.items():
        for part in PARTS:
            found = fit(lessons.samples(what, part, agreements))
            if found is not None:
                maps[part] = found
    spread = fit_spread(lessons.votes)
    calibration = Calibration(
        "catalogue",
        {part: each.map for part, each in fitted["same"].items()},
        {part: each.map for part, each in fitted["kind"].items()},
        spread,
    )
    report: dict[str, Any] = {
        what: {part: each.report for part, each in maps.items()} for what, maps in fitted.items()
    }
    report["category"] = {"spread": spread, **_measure_votes(lessons, spread)}
    report["diagram"] = _draw(fitted)
    return calibration, report


def _measure_votes(lessons: Lessons, spread: float) -> dict[str, Any]:
    predicted, right = [], []
    for hits, category in lessons.votes:
        found = predict_category(hits, spread)
        predicted.append(0.0 if found is None else found[1])
        right.append(float(found is not None and found[0] == category))
    measured = measure_calibration(np.array(predicted, np.float64), np.array(right, np.float64))
    return {"right": round(float(np.mean(right)), 4) if right else None, **measured}


def _draw(fitted: Mapping[MatchKind, Mapping[QueryPart, FittedMap]]) -> str:
    names: dict[MatchKind, str] = {"same": "same product", "kind": "same category"}
    # The whole photo alone has no line, because four are enough.
    parts: dict[QueryPart, str] = {"object": "an object", "whole": "the whole photo"}
    lines = {
        f"{names[what]}, first hit of {parts[part]}": each.report["first"]
        for what, maps in fitted.items()
        for part, each in maps.items()
        if part in parts
    }
    return draw_reliability("Held-out composed photos", lines)
