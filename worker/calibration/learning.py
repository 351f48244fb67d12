"""What composed photos teach: which hits were right, of the same category, and what follows from it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from worker.calibration.calibration_store import Calibration, Part, What
from worker.calibration.category import fit_spread, predict_category
from worker.calibration.composed import Photo
from worker.calibration.diagram import draw_reliability
from worker.calibration.fitting import HITS, MIN_RIGHT, FittedMap, Samples, fit
from worker.calibration.reliability import measure_calibration
from worker.calibration.score_map import ScoreMap
from worker.vision.crops import match, to_boxes
from worker.vision.pipeline import QueryEmbedding

#: By how much a detection overlaps what it is of.
_SAME_OBJECT = 0.5
PARTS: tuple[Part, ...] = ("object", "whole", "alone")
#: Hits of a question: product and score, the best first, one a product.
Found = Sequence[tuple[str, float]]


@dataclass(frozen=True)
class Question:
    """A search of which it is known what it should find.

    Attributes:
        photo: a number of its photo.
        part: what asks: ``object`` or ``whole``.
        right: the products that are right; none where the detector saw what is no product.
        hits: product and score, the best first, one a product.
    """

    photo: int
    part: Part
    right: frozenset[str]
    hits: Found


def expected_answers(photo: Photo, embedded: QueryEmbedding) -> list[tuple[Part, list[int]]]:
    """Return what each embedding asks for: the part, and which of the photo's products are right."""
    truth = np.array(photo.boxes, np.float32).reshape(-1, 4)
    pairs = {j: i for i, j in match(truth, to_boxes(list(embedded.objects)), _SAME_OBJECT)}
    objects: list[tuple[Part, list[int]]] = [
        ("object", [pairs[n]] if n in pairs else []) for n in range(len(embedded.objects))
    ]
    return [*objects, ("whole", list(range(len(photo.boxes))))]


@dataclass(frozen=True)
class _Asked:
    """A question, and of each of its hits whether it was right, and of a right kind; None: nobody knows."""

    question: Question
    same: list[bool]
    kind: list[bool] | None


@dataclass
class Lessons:
    """What all questions so far showed."""

    asked: list[_Asked] = field(default_factory=list)
    votes: list[tuple[list[tuple[str, float]], str]] = field(default_factory=list)

    def learn(self, question: Question, categories: Mapping[str, str]) -> None:
        """Note what became of a question.

        Args:
            categories: of its products and hits, empty where there is none.
        """
        right = question.right
        same = [product in right for product, _ in question.hits]
        kinds = {categories.get(product, "") for product in right} - {""}
        found = [(categories.get(product, ""), score) for product, score in question.hits]
        known = bool(kinds) or not right
        self.asked.append(_Asked(question, same, [kind in kinds for kind, _ in found] if known else None))
        if question.part == "object" and kinds:
            self.votes.append((found, next(iter(kinds))))

    @property
    def right(self) -> int:
        """How many hits were right, of the part that has more of them."""
        counts: Counter[Part] = Counter()
        for each in self.asked:
            counts[each.question.part] += sum(each.same[:HITS])
        return max(counts.values(), default=0)

    def enough(self) -> bool:
        """Whether anything can be said."""
        return self.right >= MIN_RIGHT

    def agreements(self, object_map: ScoreMap | None) -> dict[int, float]:
        """Return of each photo with objects how probable the surest one calls its first hit as a whole."""
        if object_map is None:
            return {}
        objects: dict[int, list[Found]] = defaultdict(list)
        for each in self.asked:
            if each.question.part == "object" and each.question.hits:
                objects[each.question.photo].append(each.question.hits)
        return {
            photo: agreement(object_map, each.question.hits[0][0], objects[photo])
            for each in self.asked
            if each.question.part == "whole" and each.question.hits
            if (photo := each.question.photo) in objects
        }

    def samples(self, what: What, part: Part, agreements: Mapping[int, float]) -> Samples:
        """Return what a part's map is fitted on: that of the whole photo on photos with objects, and that of
        the whole photo alone on all of them, as if no object had been looked for.

        Args:
            agreements: as the method of this name returns them.
        """
        samples, of = Samples(), "object" if part == "object" else "whole"
        for each in self.asked:
            question, right = each.question, each.same if what == "same" else each.kind
            if question.part != of or right is None or (part == "whole" and question.photo not in agreements):
                continue
            said = agreements[question.photo] if part == "whole" else 0.0
            samples.add(question.photo, [score for _, score in question.hits], right, said)
        return samples


def agreement(object_map: ScoreMap, product: str, objects: Sequence[Found]) -> float:
    """Return how probable the surest of a photo's objects calls a product; 0 where none found it.

    Args:
        objects: the hits of each, at least one of each.
    """
    return max((_says(object_map, product, found) for found in objects), default=0.0)


def _says(object_map: ScoreMap, product: str, found: Found) -> float:
    score = next((score for other, score in found if other == product), None)
    if score is None:
        return 0.0
    return object_map.one(score, found[0][1], found[1][1] if len(found) > 1 else None)


def fit_calibration(lessons: Lessons) -> tuple[Calibration, dict[str, Any]]:
    """Return the calibration, and the report: of each map how it kept its promises on unseen photos.

    A part with too few right hits has no map. The report's ``diagram`` is an SVG.
    """
    of_objects = fit(lessons.samples("same", "object", {}))
    agreements = lessons.agreements(None if of_objects is None else of_objects.map)
    fitted: dict[What, dict[Part, FittedMap]] = {"same": {}, "kind": {}}
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
    report["category"] = {"spread": spread, **_votes_kept(lessons, spread)}
    report["diagram"] = _diagram(fitted)
    return calibration, report


def _votes_kept(lessons: Lessons, spread: float) -> dict[str, Any]:
    said, right = [], []
    for hits, wanted in lessons.votes:
        found = predict_category(hits, spread)
        said.append(0.0 if found is None else found[1])
        right.append(float(found is not None and found[0] == wanted))
    kept = measure_calibration(np.array(said, np.float64), np.array(right, np.float64))
    return {"right": round(float(np.mean(right)), 4) if right else None, **kept}


def _diagram(fitted: Mapping[What, Mapping[Part, FittedMap]]) -> str:
    names: dict[What, str] = {"same": "same product", "kind": "same category"}
    # Of the whole photo alone there is no line: four are enough.
    asked: dict[Part, str] = {"object": "an object", "whole": "the whole photo"}
    lines = {
        f"{names[what]}, first hit of {asked[part]}": each.report["first"]
        for what, maps in fitted.items()
        for part, each in maps.items()
        if part in asked
    }
    return draw_reliability("Composed photos that were not learnt from", lines)
