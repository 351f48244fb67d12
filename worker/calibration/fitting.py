"""Fit score maps to labelled hits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.calibration.curves import Floats, fit_isotonic
from worker.calibration.reliability import measure_calibration
from worker.calibration.score_map import Hits, ScoreMap, evidence, fit_logistic

#: Maximum number of hits per query that are used.
HITS = 20
#: Minimum number of right and of wrong hits for a map.
MIN_RIGHT = 50


@dataclass
class Samples:
    """Labelled hits of many queries.

    Attributes:
        scores, firsts, seconds, agreements: of each hit, as in ``Hits``.
        right: 1 where the hit was right, else 0.
        first: whether it was the first hit.
        photos: number of the query's photo.
    """

    scores: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    agreements: list[float] = field(default_factory=list)
    right: list[float] = field(default_factory=list)
    first: list[bool] = field(default_factory=list)
    photos: list[int] = field(default_factory=list)

    def add(self, photo: int, scores: Sequence[float], right: Sequence[bool], agreement: float = 0.0) -> None:
        """Add the hits of one query, best first, one per product; those beyond HITS are ignored."""
        second = scores[1] if len(scores) > 1 else scores[0] if scores else 0.0
        for position, (score, hit) in enumerate(zip(scores[:HITS], right, strict=False)):
            self.scores.append(score)
            self.firsts.append(scores[0])
            self.seconds.append(second)
            self.agreements.append(agreement)
            self.right.append(float(hit))
            self.first.append(position == 0)
            self.photos.append(photo)

    def __len__(self) -> int:
        return len(self.scores)

    def hits(self) -> Hits:
        """Return the hits in the form that maps take."""
        columns = (self.scores, self.firsts, self.seconds, self.agreements)
        return Hits(*(np.array(column, np.float64) for column in columns))


@dataclass(frozen=True)
class FittedMap:
    """A map, and its calibration on photos that it was not fitted on.

    Attributes:
        report: ``form``, ``hits``, ``right``; ``first`` and ``all`` are results of ``measure_calibration``.
    """

    map: ScoreMap
    report: dict[str, Any]


def fit(samples: Samples) -> FittedMap | None:
    """Fit both forms of map and return the better one; None with too few right or wrong hits.

    Each form is fitted on one half of the photos and applied to the other. The form with the lower log loss
    is fitted again on all photos. First hits weigh as much as all together, because a page lists them
    first. The calibration error is no criterion: a constant map would minimise it.
    """
    hits, right = samples.hits(), np.array(samples.right, np.float64)
    if min(right.sum(), len(right) - right.sum()) < MIN_RIGHT:
        return None
    odd = np.array(samples.photos) % 2 == 1
    held_out: dict[str, Floats] = {}
    for form, fit_form in _FORMS.items():
        predicted = np.zeros(len(right))
        for half in (odd, ~odd):
            predicted[~half] = fit_form(_select(hits, half), right[half])(_select(hits, ~half))
        held_out[form] = predicted
    first, photos = np.array(samples.first), np.array(samples.photos)
    form = min(
        held_out,
        key=lambda name: _log_loss(held_out[name], right) + _log_loss(held_out[name][first], right[first]),
    )
    report = {
        "form": form,
        "hits": len(right),
        "right": int(right.sum()),
        "first": measure_calibration(held_out[form][first], right[first], photos[first]),
        "all": measure_calibration(held_out[form], right, photos),
    }
    return FittedMap(_FORMS[form](hits, right), report)


def _select(hits: Hits, mask: NDArray[np.bool_]) -> Hits:
    return Hits(*(column[mask] for column in hits))


def _fit_logistic_isotonic(hits: Hits, right: Floats) -> ScoreMap:
    weights = fit_logistic(hits, right).weights
    return ScoreMap(weights, fit_isotonic(evidence(hits) @ np.array(weights), right))


_FORMS = {"logistic": fit_logistic, "isotonic": _fit_logistic_isotonic}


def _log_loss(predicted: Floats, right: Floats) -> float:
    likelihood = np.clip(np.where(right > 0, predicted, 1 - predicted), 1e-6, 1)
    return float(-np.log(likelihood).mean())
