"""From photos whose answer is known to maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.calibration.curves import Floats, isotonic
from worker.calibration.reliability import measure_calibration
from worker.calibration.score_map import Hits, ScoreMap, blend, evidence

#: Hits of a question that are learnt from.
HITS = 20
#: With fewer right ones no map is made.
MIN_RIGHT = 50


@dataclass
class Samples:
    """Hits of many questions.

    Attributes:
        scores, firsts, seconds, agreements: of each hit, as ``Hits`` has them.
        right: 1 where it was what was asked for, else 0.
        first: whether it was the first hit.
        photos: a number of the photo that asked.
    """

    scores: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    agreements: list[float] = field(default_factory=list)
    right: list[float] = field(default_factory=list)
    first: list[bool] = field(default_factory=list)
    photos: list[int] = field(default_factory=list)

    def add(self, photo: int, scores: Sequence[float], right: Sequence[bool], agreement: float = 0.0) -> None:
        """Add the hits of one question, the best first, one a product; those beyond HITS are left out."""
        second = scores[1] if len(scores) > 1 else scores[0] if scores else 0.0
        for place, (score, hit) in enumerate(zip(scores[:HITS], right, strict=False)):
            self.scores.append(score)
            self.firsts.append(scores[0])
            self.seconds.append(second)
            self.agreements.append(agreement)
            self.right.append(float(hit))
            self.first.append(place == 0)
            self.photos.append(photo)

    def __len__(self) -> int:
        return len(self.scores)

    def hits(self) -> Hits:
        """Return them as maps take them."""
        columns = (self.scores, self.firsts, self.seconds, self.agreements)
        return Hits(*(np.array(column, np.float64) for column in columns))


@dataclass(frozen=True)
class FittedMap:
    """A map, and what became of its promises on photos that it was not fitted on.

    Attributes:
        report: ``form``, ``hits``, ``right``; ``first`` and ``all`` are results of ``measure_calibration``.
    """

    map: ScoreMap
    report: dict[str, Any]


def fit(samples: Samples) -> FittedMap | None:
    """Fit both forms of map and keep the better one; None where too few hits are right, or too few wrong.

    Each form is fitted on one half of the photos and asked about the other. The one whose answers there were
    the more likely (log loss) is kept, and fitted again on all; first hits count as much as all together,
    for they are what people look at. The calibration error does not choose: it would be served best by a map
    that says the same of every hit.
    """
    hits, right = samples.hits(), np.array(samples.right, np.float64)
    if min(right.sum(), len(right) - right.sum()) < MIN_RIGHT:
        return None
    odd = np.array(samples.photos) % 2 == 1
    unseen: dict[str, Floats] = {}
    for form, make in _FORMS.items():
        said = np.zeros(len(right))
        for half in (odd, ~odd):
            said[~half] = make(_some(hits, half), right[half])(_some(hits, ~half))
        unseen[form] = said
    first, photos = np.array(samples.first), np.array(samples.photos)
    form = min(
        unseen,
        key=lambda name: _log_loss(unseen[name], right) + _log_loss(unseen[name][first], right[first]),
    )
    report = {
        "form": form,
        "hits": len(right),
        "right": int(right.sum()),
        "first": measure_calibration(unseen[form][first], right[first], photos[first]),
        "all": measure_calibration(unseen[form], right, photos),
    }
    return FittedMap(_FORMS[form](hits, right), report)


def _some(hits: Hits, which: NDArray[np.bool_]) -> Hits:
    return Hits(*(column[which] for column in hits))


def _logistic(hits: Hits, right: Floats) -> ScoreMap:
    return blend(hits, right)


def _isotonic(hits: Hits, right: Floats) -> ScoreMap:
    weights = blend(hits, right).weights
    return ScoreMap(weights, isotonic(evidence(hits) @ np.array(weights), right))


_FORMS = {"logistic": _logistic, "isotonic": _isotonic}


def _log_loss(said: Floats, right: Floats) -> float:
    sure = np.clip(np.where(right > 0, said, 1 - said), 1e-6, 1)
    return float(-np.log(sure).mean())
