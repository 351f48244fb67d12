"""What composed photos teach: which hits were right, of the same category, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from worker.calibration.category import best_spread, predicted_category
from worker.calibration.composed import Photo
from worker.calibration.diagram import reliability_svg
from worker.calibration.fitting import LEAST_RIGHT, Fitted, Samples, fit, kept_promises
from worker.calibration.known import Calibration, Part
from worker.crops import as_boxes
from worker.evaluation.metrics import match
from worker.pipeline import QueryEmbedding

#: By how much a detection overlaps what it is of.
_SAME_OBJECT = 0.5
PARTS: tuple[Part, ...] = ("object", "whole")


@dataclass(frozen=True)
class Question:
    """A search of which it is known what it should find.

    Attributes:
        photo: a number of its photo.
        part: what asks.
        right: the products that are right; none where the detector saw what is no product.
        hits: product and score, the best first, one a product.
    """

    photo: int
    part: Part
    right: frozenset[str]
    hits: Sequence[tuple[str, float]]


def wanted_of(photo: Photo, embedded: QueryEmbedding) -> list[tuple[Part, list[int]]]:
    """Return what each embedding asks for: the part, and which of the photo's products are right."""
    truth = np.array(photo.boxes, np.float32).reshape(-1, 4)
    pairs = {j: i for i, j in match(truth, as_boxes(list(embedded.objects)), _SAME_OBJECT)}
    objects: list[tuple[Part, list[int]]] = [
        ("object", [pairs[n]] if n in pairs else []) for n in range(len(embedded.objects))
    ]
    return [*objects, ("whole", list(range(len(photo.boxes))))]


@dataclass
class Lessons:
    """What all questions so far showed."""

    same: dict[Part, Samples] = field(default_factory=lambda: {part: Samples() for part in PARTS})
    kind: dict[Part, Samples] = field(default_factory=lambda: {part: Samples() for part in PARTS})
    votes: list[tuple[list[tuple[str, float]], str]] = field(default_factory=list)

    def learn(self, question: Question, categories: Mapping[str, str]) -> None:
        """Note what became of a question.

        Args:
            categories: of its products and hits, empty where there is none.
        """
        photo, part, right = question.photo, question.part, question.right
        scores = [score for _, score in question.hits]
        self.same[part].add(photo, scores, [product in right for product, _ in question.hits])
        kinds = {categories.get(product, "") for product in right} - {""}
        if right and not kinds:
            return
        found = [categories.get(product, "") for product, _ in question.hits]
        self.kind[part].add(photo, scores, [kind in kinds for kind in found])
        if part == "object" and kinds:
            self.votes.append((list(zip(found, scores, strict=True)), next(iter(kinds))))

    @property
    def right(self) -> int:
        """How many hits were right, of the part that has more of them."""
        return max(int(sum(samples.right)) for samples in self.same.values())

    def enough(self) -> bool:
        """Whether anything can be said."""
        return self.right >= LEAST_RIGHT


def calibration_of(lessons: Lessons) -> tuple[Calibration, dict[str, Any]]:
    """Return the calibration, and the report: of each map how it kept its promises on unseen photos.

    A part with too few right hits has no map. The report's ``diagram`` is an SVG.
    """
    fitted: dict[str, dict[Part, Fitted]] = {"same": {}, "kind": {}}
    for what, samples in (("same", lessons.same), ("kind", lessons.kind)):
        for part in PARTS:
            if (found := fit(samples[part])) is not None:
                fitted[what][part] = found
    spread = best_spread(lessons.votes)
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
        found = predicted_category(hits, spread)
        said.append(0.0 if found is None else found[1])
        right.append(float(found is not None and found[0] == wanted))
    kept = kept_promises(np.array(said, np.float64), np.array(right, np.float64))
    return {"right": round(float(np.mean(right)), 4) if right else None, **kept}


def _diagram(fitted: Mapping[str, Mapping[Part, Fitted]]) -> str:
    names = {"same": "same product", "kind": "same category"}
    asked = {"object": "an object", "whole": "the whole photo"}
    lines = {
        f"{names[what]}, first hit of {asked[part]}": each.report["first"]
        for what, maps in fitted.items()
        for part, each in maps.items()
    }
    return reliability_svg("Composed photos that were not learnt from", lines)
