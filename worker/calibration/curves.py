"""Maps to a probability: monotone, between 0 and 1, small enough to travel as JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Most points of a curve that is kept.
MAX_KNOTS = 64


@dataclass(frozen=True, slots=True)
class Curve:
    """A map from evidence, any number, to a probability.

    Attributes:
        evidence: ``(K,)`` ascending, K >= 2.
        probabilities: ``(K,)`` in 0..1, never falling.
    """

    evidence: Floats
    probabilities: Floats

    def __call__(self, evidence: Floats) -> Floats:
        """Return the probability of each ``(N,)``; beyond the ends that of the end."""
        return np.interp(evidence, self.evidence, self.probabilities)

    def least(self, probability: float) -> float | None:
        """Return the least evidence that has this probability, None where none has it."""
        reached = np.flatnonzero(self.probabilities >= probability)
        if not len(reached):
            return None
        first = int(reached[0])
        if first == 0:
            return -math.inf
        x0, x1 = self.evidence[first - 1 : first + 1]
        y0, y1 = self.probabilities[first - 1 : first + 1]
        return float(x0 + (x1 - x0) * (probability - y0) / (y1 - y0))

    def as_json(self) -> dict[str, Any]:
        """Return what ``from_json`` reads."""
        return {
            "evidence": [round(float(v), 6) for v in self.evidence],
            "probabilities": [round(float(v), 6) for v in self.probabilities],
        }

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Curve:
        return cls(np.array(found["evidence"], np.float64), np.array(found["probabilities"], np.float64))


def isotonic(evidence: Floats, right: Floats) -> Curve:
    """Fit the never falling curve that is nearest to what was seen (pool adjacent violators).

    Neighbours are pooled until their shares rise. Both ends are kept off 0 and 1 by what so few examples
    leave open: a right and a wrong one are added to each end's pool.

    Args:
        evidence: ``(N,)``, N >= 1.
        right: ``(N,)``, 1 where it was right, else 0.
    """
    order = np.argsort(evidence, kind="stable")
    pools: list[list[float]] = []  # of each: examples, right ones, sum of evidence
    for value, hit in zip(evidence[order], right[order], strict=True):
        pools.append([1.0, float(hit), float(value)])
        while len(pools) > 1 and pools[-2][1] * pools[-1][0] >= pools[-1][1] * pools[-2][0]:
            last = pools.pop()
            pools[-1] = [a + b for a, b in zip(pools[-1], last, strict=True)]
    counts, hits, sums = np.array(pools).T
    shares = hits / counts
    low, high = ((hits[end] + 1) / (counts[end] + 2) for end in (0, -1))
    if len(shares) == 1:
        return Curve(np.array([sums[0] / counts[0] + d for d in (0.0, 1.0)]), np.array([low, low]))
    # An end of few examples does not undo what its neighbour knows.
    shares[0], shares[-1] = min(low, shares[1]), max(high, shares[-2])
    middles = sums / counts
    if len(shares) > MAX_KNOTS:
        kept = np.unique(np.linspace(0, len(shares) - 1, MAX_KNOTS).round().astype(int))
        middles, shares = middles[kept], shares[kept]
    return Curve(middles, shares)
