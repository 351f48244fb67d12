"""Whether probabilities are kept: what was said, against what came true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.calibration.curves import Floats

BINS = 10
_DRAWS, _CHANCES = 1000, 200


def measure_calibration(
    said: Floats, right: Floats, photos: NDArray[np.int_] | Sequence[int] | None = None
) -> dict[str, Any]:
    """Return how far probabilities were kept.

    Args:
        said: ``(N,)`` probabilities.
        right: ``(N,)``, 1 where it was right, else 0.
        photos: ``(N,)``, which photo asked: hits of one are not independent. None where each is of its own.

    Returns:
        ``n``; ``ece``, the expected calibration error: over ten bins of equal width, the mean distance of
        what was said from what came true, weighted by hits; ``ece_ci``, its 95 % bootstrap interval over
        photos; ``ece_by_chance``, what it would be on average were every probability right, for so few hits
        never come out evenly; ``brier``, the mean squared error; and ``bins``, of each that has hits:
        ``said``, ``came_true`` and ``n``. The errors are None where n is 0.
    """
    total = len(said)
    if not total:
        nothing = dict.fromkeys(("ece", "ece_ci", "ece_by_chance", "brier"))
        return {"n": 0, **nothing, "bins": []}
    places = np.minimum((said * BINS).astype(int), BINS - 1)
    sums = _sums(places, said, right)
    bins = [
        {"said": round(float(s / n), 4), "came_true": round(float(r / n), 4), "n": int(n)}
        for n, s, r in sums.T
        if n
    ]
    return {
        "n": total,
        "ece": round(float(_ece(sums[np.newaxis])[0]), 4),
        "ece_ci": _interval(places, said, right, np.arange(total) if photos is None else photos),
        "ece_by_chance": _by_chance(places, said),
        "brier": round(float(np.mean((said - right) ** 2)), 4),
        "bins": bins,
    }


def _sums(places: NDArray[np.int_], said: Floats, right: Floats) -> Floats:
    """``(3, BINS)``: of each bin its hits, what was said and what came true, summed."""
    columns = (np.ones_like(said), said, right)
    return np.stack([np.bincount(places, weights=column, minlength=BINS) for column in columns])


def _ece(sums: Floats) -> Floats:
    """``(R,)`` errors of ``(R, 3, BINS)`` sums."""
    found: Floats = np.abs(sums[:, 1] - sums[:, 2]).sum(axis=1) / sums[:, 0].sum(axis=1)
    return found


def _interval(
    places: NDArray[np.int_], said: Floats, right: Floats, photos: NDArray[np.int_] | Sequence[int]
) -> list[float]:
    """Photos are drawn with replacement; their sums are all that is needed of them."""
    _, numbers = np.unique(np.asarray(photos), return_inverse=True)
    count = int(numbers.max()) + 1
    cells = numbers * BINS + places
    columns = [
        np.bincount(cells, weights=column, minlength=count * BINS).reshape(count, BINS)
        for column in (np.ones_like(said), said, right)
    ]
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), _DRAWS).astype(np.float64)
    errors = _ece(np.stack([drawn @ column for column in columns], axis=1))
    return [round(float(bound), 4) for bound in np.percentile(errors, (2.5, 97.5))]


def _by_chance(places: NDArray[np.int_], said: Floats) -> float:
    rng = np.random.default_rng(0)
    sums = [_sums(places, said, (rng.random(len(said)) < said).astype(np.float64)) for _ in range(_CHANCES)]
    return round(float(_ece(np.stack(sums)).mean()), 4)
