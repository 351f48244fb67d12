"""Measure the calibration of probabilities against outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.calibration.curves import Floats

BINS = 10
#: Numbers of bootstrap samples, and of simulations of perfect calibration.
_BOOTSTRAP_SAMPLES, _SIMULATIONS = 1000, 200


def measure_calibration(
    predicted: Floats, right: Floats, photos: NDArray[np.int_] | Sequence[int] | None = None
) -> dict[str, Any]:
    """Measure the calibration error of probabilities.

    Args:
        predicted: ``(N,)`` probabilities.
        right: ``(N,)``, 1 where the hit was right, else 0.
        photos: ``(N,)``, number of the query's photo, because hits of one photo are not independent; None
            where each hit has its own.

    Returns:
        ``n``; ``ece``, the expected calibration error: the mean distance of predicted from observed shares
        over ten bins of equal width, weighted by hits; ``ece_ci``, its 95 % bootstrap interval over photos;
        ``ece_by_chance``, its mean under perfect calibration, which is not 0 for few hits; ``brier``, the
        mean squared error; and ``bins`` with hits, as stored. They have the predicted share
        (``said``),  prose: ignore
        the observed one (``came_true``) and ``n``. The errors are None where n is 0.
    """
    total = len(predicted)
    if not total:
        errors = dict.fromkeys(("ece", "ece_ci", "ece_by_chance", "brier"))
        return {"n": 0, **errors, "bins": []}
    numbers = np.minimum((predicted * BINS).astype(int), BINS - 1)
    sums = _bin_sums(numbers, predicted, right)
    bins = [
        {"said": round(float(s / n), 4), "came_true": round(float(r / n), 4), "n": int(n)}  # prose: ignore
        for n, s, r in sums.T
        if n
    ]
    return {
        "n": total,
        "ece": round(float(_ece(sums[np.newaxis])[0]), 4),
        "ece_ci": _interval(numbers, predicted, right, np.arange(total) if photos is None else photos),
        "ece_by_chance": _simulate_error(numbers, predicted),
        "brier": round(float(np.mean((predicted - right) ** 2)), 4),
        "bins": bins,
    }


def _bin_sums(bins: NDArray[np.int_], predicted: Floats, right: Floats) -> Floats:
    """Return ``(3, BINS)``: number of hits, sum of predictions and of right hits by bin."""
    columns = (np.ones_like(predicted), predicted, right)
    return np.stack([np.bincount(bins, weights=column, minlength=BINS) for column in columns])


def _ece(sums: Floats) -> Floats:
    """Return the errors ``(R,)`` of ``(R, 3, BINS)`` sums."""
    found: Floats = np.abs(sums[:, 1] - sums[:, 2]).sum(axis=1) / sums[:, 0].sum(axis=1)
    return found


def _interval(
    bins: NDArray[np.int_], predicted: Floats, right: Floats, photos: NDArray[np.int_] | Sequence[int]
) -> list[float]:
    """Bootstrap the error over photos, whose sums by bin suffice."""
    _, numbers = np.unique(np.asarray(photos), return_inverse=True)
    count = int(numbers.max()) + 1
    cells = numbers * BINS + bins
    columns = [
        np.bincount(cells, weights=column, minlength=count * BINS).reshape(count, BINS)
        for column in (np.ones_like(predicted), predicted, right)
    ]
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(count, np.full(count, 1 / count), _BOOTSTRAP_SAMPLES).astype(np.float64)
    errors = _ece(np.stack([drawn @ column for column in columns], axis=1))
    return [round(float(bound), 4) for bound in np.percentile(errors, (2.5, 97.5))]


def _simulate_error(bins: NDArray[np.int_], predicted: Floats) -> float:
    """Return the mean error of outcomes drawn from the predictions themselves."""
    rng = np.random.default_rng(0)
    sums = [
        _bin_sums(bins, predicted, (rng.random(len(predicted)) < predicted).astype(np.float64))
        for _ in range(_SIMULATIONS)
    ]
    return round(float(_ece(np.stack(sums)).mean()), 4)
