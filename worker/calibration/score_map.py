"""What a hit's score, and its lead over the other products, say about how likely it is the right one.

The score alone says little about the first hit: 0.8 is a find where the next product has 0.5, and a guess
where ten others have 0.79. So a logistic model blends the score with the lead, and where it serves better a
never falling curve corrects what the blend says. Both are monotone: within a group a higher score never has
a lower probability.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from worker.calibration.curves import Curve, Floats

_STEPS = 60
#: So weak that it only matters where the two kinds do not overlap at all.
_RIDGE = 1e-2
_FARTHEST = 30.0


@dataclass(frozen=True, slots=True)
class ScoreMap:
    """A map from a hit's score to a probability.

    The *lead* of a hit is its score less that of the best other product in its group: 0 or more for the
    first hit, 0 or less for the others.

    Attributes:
        weights: of the constant, the score, a lead above 0 and a lead below 0; all but the first >= 0.
        curve: from the blend to the probability; None for the logistic function.
    """

    weights: tuple[float, float, float, float]
    curve: Curve | None = None

    def __call__(self, scores: Floats, leads: Floats) -> Floats:
        """Return the probability of each of ``(N,)`` hits."""
        return self.of_evidence(evidence(scores, leads) @ np.array(self.weights))

    def of_evidence(self, blended: Floats) -> Floats:
        return logistic(blended) if self.curve is None else self.curve(blended)

    def one(self, score: float, first: float, second: float | None) -> float:
        """Return the probability of one hit.

        Args:
            first, second: the scores of the group's best two products; None where there is one only.
        """
        lead = score - first if score < first else first - (first if second is None else second)
        return float(self(np.array([score]), np.array([lead]))[0])

    def least_score(self, probability: float, first: float, second: float | None) -> float | None:
        """Return the lowest score that has this probability in a group; None where not even the best has.

        Args:
            first, second: as for ``one``.
        """
        if self.one(first, first, second) < probability:
            return None
        if self.curve is None:
            odds = min(max(probability, 1e-12), 1 - 1e-12)
            wanted: float | None = math.log(odds / (1 - odds))
        else:
            wanted = self.curve.least(probability)
        constant, of_score, _, behind = self.weights
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
        constant, score, ahead, behind = found["weights"]
        curve = None if found["curve"] is None else Curve.from_json(found["curve"])
        return cls((constant, score, ahead, behind), curve)


def evidence(scores: Floats, leads: Floats) -> Floats:
    """Return ``(N, 4)``: what the weights are of."""
    return np.stack([np.ones_like(scores), scores, np.maximum(leads, 0), np.minimum(leads, 0)], axis=1)


def logistic(values: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-np.clip(values, -_FARTHEST, _FARTHEST)))
    return found


def blend(scores: Floats, leads: Floats, right: Floats) -> ScoreMap:
    """Fit the logistic model by most likelihood, its weights 0 or more.

    Args:
        scores, leads: ``(N,)``, N >= 1.
        right: ``(N,)``, 1 where it was right, else 0.
    """
    inputs = evidence(scores, leads)
    used = [0, 1, 2, 3]
    while True:
        found = _fit(inputs[:, used], right)
        wrong = [n for n, weight in zip(used[1:], found[1:], strict=True) if weight < 0]
        if not wrong:
            break
        # The most wrong one goes; the others are fitted without it.
        used.remove(min(wrong, key=lambda n: found[used.index(n)]))
    weights = [0.0] * 4
    for place, weight in zip(used, found, strict=True):
        weights[place] = float(weight)
    return ScoreMap((weights[0], weights[1], weights[2], weights[3]))


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
