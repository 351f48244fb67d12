"""Fit monotone curves from evidence to probability, small enough for JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Maximum number of points of a stored curve.
MAX_KNOTS = 64


@dataclass(frozen=True, slots=True)
class Curve:
    """A piecewise linear map from evidence, any number, to a probability.

    Attributes:
        evidence: ``(K,)`` ascending, K >= 2.
        probabilities: ``(K,)`` in 0..1, non-decreasing.
    """

    evidence: Floats
    probabilities: Floats

    def __call__(self, evidence: Floats) -> Floats:
        """Return the probabilities ``(N,)``; beyond the ends, those of the ends."""
        return np.interp(evidence, self.evidence, self.probabilities)

    def min_evidence(self, probability: float) -> float | None:
        """Return the minimum evidence with this probability, None where the curve does not reach it."""
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
        """Return the form that ``from_json`` reads."""
        return {
            "evidence": [round(float(v), 6) for v in self.evidence],
            "probabilities": [round(float(v), 6) for v in self.probabilities],
        }

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Curve:
        """Read a stored curve."""
        return cls(np.array(found["evidence"], np.float64), np.array(found["probabilities"], np.float64))


def fit_isotonic(evidence: Floats, right: Floats) -> Curve:
    """Fit the closest non-decreasing curve (pool adjacent violators).

    Neighbours are pooled until their shares increase. One right and one wrong example are added to each
    end's pool, so that few examples give no probability of 0 or 1.

    Args:
        evidence: ``(N,)``, N >= 1.
        right: ``(N,)``, 1 where the hit was right, else 0.
    """
    order = np.argsort(evidence, kind="stable")
    pools: list[list[float]] = []  # per pool: examples, right ones, sum of evidence
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
    # An end of few examples must not exceed its neighbour.
    shares[0], shares[-1] = min(low, shares[1]), max(high, shares[-2])
    middles = sums / counts
    if len(shares) > MAX_KNOTS:
        indices = np.unique(np.linspace(0, len(shares) - 1, MAX_KNOTS).round().astype(int))
        middles, shares = middles[indices], shares[indices]
    return Curve(middles, shares)
