"""What a hit's score, and what stands beside it, say about how likely it is the right one.

The score alone says little about the first hit: 0.8 is a find where the next product has 0.5, and a guess
where ten others have 0.79. Nor does the whole photo alone: half of it is a room. What an object of the photo
found says much more about whether the photo's first hit is right. So a logistic model blends the score with
the lead over the others and with what objects say, and where it serves better a never falling curve corrects
what the blend says. Within a group a higher score never has a lower probability.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from worker.calibration.curves import Curve, Floats

_STEPS = 60
#: So weak that it only matters where the two kinds do not overlap at all.
_RIDGE = 1e-2
_FARTHEST = 30.0
#: An object's word counts between these: beyond them it says no more than that it is sure.
_UNSURE, _SURE = 0.02, 0.98
#: Of the constant, the score, a lead above 0, a lead below 0, being first, what objects say.
Weights = tuple[float, float, float, float, float, float]
_FIRST = 4
#: Those of these may be below 0: they are the same for a group's whole, or for its first hit.
_FREE = (0, _FIRST)


class Hits(NamedTuple):
    """Hits of any groups, as a map takes them; each ``(N,)``.

    The *lead* of a hit is its score less that of the best other product in its group: 0 or more for the first
    hit, 0 or less for the others.

    Attributes:
        scores: of each hit.
        firsts, seconds: the scores of its group's best two products; twice the same where there is one only.
        agreements: the probability that an object of the photo gives to the first hit of its whole photo, 0
            where none found it; 0 in an object's group.
    """

    scores: Floats
    firsts: Floats
    seconds: Floats
    agreements: Floats


@dataclass(frozen=True, slots=True)
class ScoreMap:
    """A map from a hit's score to a probability.

    Attributes:
        weights: all but the constant and that of being first >= 0.
        curve: from the blend to the probability; None for the logistic function.
    """

    weights: Weights
    curve: Curve | None = None

    def __call__(self, hits: Hits) -> Floats:
        """Return the probability ``(N,)`` of each hit: never more than its group's first has."""
        weights = np.array(self.weights)
        own = self._of(evidence(hits) @ weights)
        if weights[_FIRST] >= 0:
            return own  # nothing makes a first hit less probable than another
        first: Floats = self._of(evidence(hits._replace(scores=hits.firsts)) @ weights)
        return np.minimum(own, first)

    def _of(self, blended: Floats) -> Floats:
        return logistic(blended) if self.curve is None else self.curve(blended)

    def one(self, score: float, first: float, second: float | None, agreement: float = 0.0) -> float:
        """Return the probability of one hit.

        Args:
            first, second: the scores of the group's best two products; None where there is one only.
            agreement: as ``Hits`` has it.
        """
        values = (score, first, first if second is None else second, agreement)
        return float(self(Hits(*(np.array([value], np.float64) for value in values)))[0])

    def min_score(
        self, probability: float, first: float, second: float | None, agreement: float = 0.0
    ) -> float | None:
        """Return the lowest score that has this probability in a group; None where not even the best has.

        Args:
            first, second, agreement: as for ``one``.
        """
        if self.one(first, first, second, agreement) < probability:
            return None
        if self.curve is None:
            odds = min(max(probability, 1e-12), 1 - 1e-12)
            wanted: float | None = math.log(odds / (1 - odds))
        else:
            wanted = self.curve.least(probability)
        constant, of_score, _, behind, _, _ = self.weights
        slope = of_score + behind
        if wanted is None or slope <= 0:
            return first
        return min((wanted - constant + behind * first) / slope, first)

    def as_json(self) -> dict[str, Any]:
        """Return what ``from_json`` reads."""
        curve = None if self.curve is None else self.curve.as_json()
        return {"weights": [round(float(w), 6) for w in self.weights], "curve": curve}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> ScoreMap:
        """Read a map; one that was made before there were six weights has none for what they weigh."""
        constant, score, ahead, behind, first, agreement = [*found["weights"], 0.0, 0.0][:6]
        curve = None if found["curve"] is None else Curve.from_json(found["curve"])
        return cls((constant, score, ahead, behind, first, agreement), curve)


def evidence(hits: Hits) -> Floats:
    """Return ``(N, 6)``: what the weights are of."""
    # One by one: a search has ten or twenty, of which an array's every operation takes longer than all this.
    rows = [_evidence_of(*hit) for hit in zip(*(part.tolist() for part in hits), strict=True)]
    return np.array(rows, np.float64).reshape(-1, 6)


def _evidence_of(score: float, first: float, second: float, agreement: float) -> Weights:
    if score < first:
        return 1.0, score, 0.0, score - first, 0.0, 0.0
    return 1.0, score, first - second, 0.0, 1.0, _said_by_object(agreement)


def _said_by_object(agreement: float) -> float:
    """Log odds, 0 or more: those of an object that is not sure count as none."""
    if agreement <= _UNSURE:
        return 0.0
    sure = min(agreement, _SURE)
    return math.log(sure / (1 - sure)) - math.log(_UNSURE / (1 - _UNSURE))


def logistic(values: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-np.clip(values, -_FARTHEST, _FARTHEST)))
    return found


def blend(hits: Hits, right: Floats) -> ScoreMap:
    """Fit the logistic model by most likelihood, within what its weights may be.

    Args:
        hits: N >= 1 of them.
        right: ``(N,)``, 1 where it was right, else 0.
    """
    inputs = evidence(hits)
    used = [n for n in range(inputs.shape[1]) if n in _FREE or inputs[:, n].any()]
    while True:
        found = _fit(inputs[:, used], right)
        wrong = [n for n, weight in zip(used, found, strict=True) if weight < 0 and n not in _FREE]
        if not wrong:
            break
        # The most wrong one goes; the others are fitted without it.
        used.remove(min(wrong, key=lambda n: found[used.index(n)]))
    weights = [0.0] * inputs.shape[1]
    for place, weight in zip(used, found, strict=True):
        weights[place] = float(weight)
    constant, score, ahead, behind, first, agreement = weights
    return ScoreMap((constant, score, ahead, behind, first, agreement))


def _fit(inputs: Floats, right: Floats) -> Floats:
    """Newton's method, its steps bounded: it leaps where the two kinds hardly overlap."""
    weights = np.zeros(inputs.shape[1])
    ridge = _RIDGE * np.eye(len(weights))
    ridge[0, 0] = 1e-9
    for _ in range(_STEPS):
        found = logistic(inputs @ weights)
        slope = inputs.T @ (right - found) - ridge @ weights
        bend = (inputs * (found * (1 - found))[:, None]).T @ inputs + ridge
        step = np.linalg.solve(bend, slope)
        longest = float(np.abs(step).max())
        weights += step * min(1.0, 10.0 / max(longest, 1e-12))
        if longest < 1e-8:
            break
    return weights
