"""Map a hit's score and its context to the probability that it is right.

The score alone is weak evidence for a first hit: 0.8 is a match where the next product has 0.5, and a guess
where ten others have 0.79. So is the whole photo alone, half of which may be a room; what its objects match
is much stronger evidence. So a logistic model combines the score with the lead over other products and with
the agreement of objects; where that is more likely, a non-decreasing curve corrects it. Within a group a
higher score never has a lower probability.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from worker.calibration.curves import Curve, Floats

#: Maximum number of Newton steps.
_MAX_STEPS = 60
#: Regularisation, which only matters where right and wrong hits are separable.
_RIDGE = 1e-2
#: Limit of log odds, against overflow.
_MAX_LOG_ODDS = 30.0
#: Limits of an agreement's probability, beyond which it adds no evidence.
_MIN_AGREEMENT, _MAX_AGREEMENT = 0.02, 0.98
#: Weights of the constant, the score, a lead above 0, a lead below 0, being first, and the agreement.
Weights = tuple[float, float, float, float, float, float]
_FIRST = 4
#: Weights that may be negative: they are equal for all hits of a group, or for its first hit only.
_FREE = (0, _FIRST)


class Hits(NamedTuple):
    """Hits of any groups in the form that a map takes; each field is ``(N,)``.

    The *lead* of a hit is its score minus that of the best other product in its group: 0 or more for the
    first hit, 0 or less for the others.

    Attributes:
        scores: of each hit.
        firsts, seconds: the scores of its group's best two products; equal where there is only one.
        agreements: the highest probability that an object of the photo gives the first hit of its whole
            photo; 0 where no object found it, and in an object's group.
    """

    scores: Floats
    firsts: Floats
    seconds: Floats
    agreements: Floats


@dataclass(frozen=True, slots=True)
class ScoreMap:
    """A map from a hit's score to a probability.

    Attributes:
        weights: all are >= 0, except those of the constant and of being first.
        curve: from the weighted evidence to the probability; None for the logistic function.
    """

    weights: Weights
    curve: Curve | None = None

    def __call__(self, hits: Hits) -> Floats:
        """Return the probabilities ``(N,)``, never higher than that of a group's first hit."""
        weights = np.array(self.weights)
        own = self._to_probability(evidence(hits) @ weights)
        if weights[_FIRST] >= 0:
            return own  # then no hit can be more probable than the first
        first: Floats = self._to_probability(evidence(hits._replace(scores=hits.firsts)) @ weights)
        return np.minimum(own, first)

    def _to_probability(self, weighted: Floats) -> Floats:
        return logistic(weighted) if self.curve is None else self.curve(weighted)

    def one(self, score: float, first: float, second: float | None, agreement: float = 0.0) -> float:
        """Return the probability of one hit.

        Args:
            first, second: the scores of the group's best two products; None where there is only one.
            agreement: as in ``Hits``.
        """
        values = (score, first, first if second is None else second, agreement)
        return float(self(Hits(*(np.array([value], np.float64) for value in values)))[0])

    def min_score(
        self, probability: float, first: float, second: float | None, agreement: float = 0.0
    ) -> float | None:
        """Return the lowest score with this probability in a group, None where not even the best has it.

        Args:
            first, second, agreement: as for ``one``.
        """
        if self.one(first, first, second, agreement) < probability:
            return None
        if self.curve is None:
            odds = min(max(probability, 1e-12), 1 - 1e-12)
            needed: float | None = math.log(odds / (1 - odds))
        else:
            needed = self.curve.min_evidence(probability)
        constant, score_weight, _, behind, _, _ = self.weights
        slope = score_weight + behind
        if needed is None or slope <= 0:
            return first
        return min((needed - constant + behind * first) / slope, first)

    def as_json(self) -> dict[str, Any]:
        """Return the form that ``from_json`` reads."""
        curve = None if self.curve is None else self.curve.as_json()
        return {"weights": [round(float(w), 6) for w in self.weights], "curve": curve}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> ScoreMap:
        """Read a stored map; weights that older versions lack are 0."""
        constant, score, ahead, behind, first, agreement = [*found["weights"], 0.0, 0.0][:6]
        curve = None if found["curve"] is None else Curve.from_json(found["curve"])
        return cls((constant, score, ahead, behind, first, agreement), curve)


def evidence(hits: Hits) -> Floats:
    """Return the evidence ``(N, 6)`` that the weights multiply."""
    # A loop: a search has ten or twenty hits, for which one array operation takes longer than all of it.
    rows = [_evidence_of(*hit) for hit in zip(*(part.tolist() for part in hits), strict=True)]
    return np.array(rows, np.float64).reshape(-1, 6)


def _evidence_of(score: float, first: float, second: float, agreement: float) -> Weights:
    if score < first:
        return 1.0, score, 0.0, score - first, 0.0, 0.0
    return 1.0, score, first - second, 0.0, 1.0, _agreement_evidence(agreement)


def _agreement_evidence(agreement: float) -> float:
    """Return log odds, 0 or more, relative to the minimum agreement."""
    if agreement <= _MIN_AGREEMENT:
        return 0.0
    clipped = min(agreement, _MAX_AGREEMENT)
    return math.log(clipped / (1 - clipped)) - math.log(_MIN_AGREEMENT / (1 - _MIN_AGREEMENT))


def logistic(values: Floats) -> Floats:
    """Return the logistic function of log odds."""
    found: Floats = 1 / (1 + np.exp(-np.clip(values, -_MAX_LOG_ODDS, _MAX_LOG_ODDS)))
    return found


def fit_logistic(hits: Hits, right: Floats) -> ScoreMap:
    """Fit the logistic model by maximum likelihood, within the limits of its weights.

    Args:
        hits: N >= 1 of them.
        right: ``(N,)``, 1 where the hit was right, else 0.
    """
    inputs = evidence(hits)
    used = [n for n in range(inputs.shape[1]) if n in _FREE or inputs[:, n].any()]
    while True:
        found = _fit(inputs[:, used], right)
        negative = [n for n, weight in zip(used, found, strict=True) if weight < 0 and n not in _FREE]
        if not negative:
            break
        # Remove the most negative weight, and fit the others without it.
        used.remove(min(negative, key=lambda n: found[used.index(n)]))
    weights = [0.0] * inputs.shape[1]
    for index, weight in zip(used, found, strict=True):
        weights[index] = float(weight)
    constant, score, ahead, behind, first, agreement = weights
    return ScoreMap((constant, score, ahead, behind, first, agreement))


def _fit(inputs: Floats, right: Floats) -> Floats:
    """Run Newton's method with bounded steps, because it diverges where classes hardly overlap."""
    weights = np.zeros(inputs.shape[1])
    ridge = _RIDGE * np.eye(len(weights))
    ridge[0, 0] = 1e-9
    for _ in range(_MAX_STEPS):
        found = logistic(inputs @ weights)
        gradient = inputs.T @ (right - found) - ridge @ weights
        hessian = (inputs * (found * (1 - found))[:, None]).T @ inputs + ridge
        step = np.linalg.solve(hessian, gradient)
        longest = float(np.abs(step).max())
        weights += step * min(1.0, 10.0 / max(longest, 1e-12))
        if longest < 1e-8:
            break
    return weights
