"""Compute figures from ranks and boxes, with bootstrap confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from worker.vision.crops import match, overlap

#: Number of resamplings of a confidence interval.
RESAMPLES = 1000
#: Percentiles of a 95 % interval.
TAILS_PERCENT = (2.5, 97.5)

Floats = NDArray[np.float64]
Boxes = NDArray[np.float32]


def product_rank(scores: NDArray[np.float32], owners: NDArray[np.intp], product: int) -> int:
    """Return the rank of a product, from 1, among products ordered by their best score.

    Products of equal score rank before it, so that no rank is lucky.

    Args:
        scores: ``(Q, G)``: of each query embedding with each gallery embedding; the best query counts.
        owners: ``(G,)``: the product of each gallery embedding, 0 to P - 1.
        product: whose rank is returned.
    """
    best = np.full(int(owners.max()) + 1, -np.inf, np.float32)
    np.maximum.at(best, owners, scores.max(axis=0))
    return int((best >= best[product]).sum())


def search_figures(ranks: Sequence[int | None]) -> dict[str, int | float | list[float]]:
    """Compute n, recall@1, recall@10 and mean average precision in percent, with intervals.

    Args:
        ranks: of the one right product of each query, from 1; None where it was not found.
    """
    numbers = np.array([np.inf if rank is None else rank for rank in ranks], np.float64)
    figures: dict[str, int | float | list[float]] = {"n": len(ranks)}
    values = {"recall@1": numbers <= 1, "recall@10": numbers <= 10, "map": 1 / numbers}
    for name, each in values.items():
        figures |= with_interval(name, 100 * np.asarray(each, np.float64))
    return figures


def with_interval(name: str, values: Floats, digits: int = 2) -> dict[str, float | list[float]]:
    """Return the mean as ``name`` and its 95 % bootstrap interval as ``name_ci``; 0 for no values."""
    if not len(values):
        return {name: 0.0, f"{name}_ci": [0.0, 0.0]}
    return {name: round(float(values.mean()), digits), f"{name}_ci": interval(values, np.mean, digits)}


def interval(values: Floats, statistic: Callable[..., Floats], digits: int = 2) -> list[float]:
    """Return the 95 % percentile bootstrap interval; deterministic.

    Args:
        values: ``(N, ...)``: one row per example, N >= 1; rows are drawn with replacement.
        statistic: takes ``axis``, such as the mean.
    """
    random = np.random.default_rng(0)
    drawn = [
        statistic(values[random.integers(0, len(values), len(values))], axis=0) for _ in range(RESAMPLES)
    ]
    return [round(float(edge), digits) for edge in np.percentile(drawn, TAILS_PERCENT)]


def detector_figures(pictures: Sequence[tuple[Boxes, Boxes, int]]) -> dict[str, float | list[float]]:
    """Compute recall at IoU .5 and .75, mean IoU in percent, and false objects per picture.

    Recall counts all searched objects. ``false_per_picture`` counts confident objects, which a page lists
    first; ``false_searched_per_picture`` counts doubtful ones too.

    Args:
        pictures: of each, true boxes ``(N, 4)``, found boxes ``(M, 4)`` in the same units, and the number of
            confident found boxes, which come first.
    """
    at_50: list[float] = []
    at_75: list[float] = []
    ious: list[float] = []
    false: list[float] = []
    searched: list[float] = []
    confident_at_50: list[float] = []
    for truth, found, confident in pictures:
        pairs = match(truth, found, 0.5)
        table = overlap(truth, found)
        hits = {i for i, _ in pairs}
        fine = {i for i, j in pairs if table[i, j] >= 0.75}
        at_50 += [100.0 * (i in hits) for i in range(len(truth))]
        at_75 += [100.0 * (i in fine) for i in range(len(truth))]
        ious += [100.0 * float(row.max(initial=0.0)) for row in table]
        searched.append(float(len(found) - len(pairs)))
        confident_hits = {i for i, _ in match(truth, found[:confident], 0.5)}
        confident_at_50 += [100.0 * (i in confident_hits) for i in range(len(truth))]
        false.append(float(confident - len(confident_hits)))
    return {
        **with_interval("recall@.5", np.array(at_50)),
        **with_interval("recall@.75", np.array(at_75)),
        **with_interval("mean_iou", np.array(ious)),
        **with_interval("false_per_picture", np.array(false), digits=3),
        **with_interval("sure_recall@.5", np.array(confident_at_50)),
        **with_interval("false_searched_per_picture", np.array(searched), digits=3),
    }
