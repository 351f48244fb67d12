"""Figures from ranks and boxes, with the uncertainty that so many examples leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from worker.vision.crops import match, overlap

#: Resamplings behind a confidence interval.
RESAMPLES = 1000
#: The interval holds the true figure 19 times of 20.
TAILS_PERCENT = (2.5, 97.5)

Floats = NDArray[np.float64]
Boxes = NDArray[np.float32]


def product_rank(scores: NDArray[np.float32], owners: NDArray[np.intp], wanted: int) -> int:
    """Return the place of a product, from 1, when each product counts once with its best score.

    Args:
        scores: ``(Q, G)``: of each query embedding with each gallery embedding; all queries are asked
            together and the best score counts.
        owners: ``(G,)``: the product of each gallery embedding, 0 to P - 1.
        wanted: the product looked for. Where others score alike they come first: no rank by luck.
    """
    best = np.full(int(owners.max()) + 1, -np.inf, np.float32)
    np.maximum.at(best, owners, scores.max(axis=0))
    return int((best >= best[wanted]).sum())


def search_figures(ranks: Sequence[int | None]) -> dict[str, int | float | list[float]]:
    """Return n, recall@1, recall@10 and mean average precision in percent, each with its interval.

    Args:
        ranks: of the one right product of each query, from 1; None where it was not found at all.
    """
    places = np.array([np.inf if rank is None else rank for rank in ranks], np.float64)
    figures: dict[str, int | float | list[float]] = {"n": len(ranks)}
    values = {"recall@1": places <= 1, "recall@10": places <= 10, "map": 1 / places}
    for name, each in values.items():
        figures |= with_interval(name, 100 * np.asarray(each, np.float64))
    return figures


def with_interval(name: str, values: Floats, digits: int = 2) -> dict[str, float | list[float]]:
    """Return the mean as ``name`` and its 95 % bootstrap interval as ``name_ci``; 0 for no values."""
    if not len(values):
        return {name: 0.0, f"{name}_ci": [0.0, 0.0]}
    return {name: round(float(values.mean()), digits), f"{name}_ci": interval(values, np.mean, digits)}


def interval(values: Floats, statistic: Callable[..., Floats], digits: int = 2) -> list[float]:
    """Return the 95 % percentile bootstrap interval; the same for the same values.

    Args:
        values: ``(N, ...)``: one row an example, N >= 1; rows are drawn with replacement.
        statistic: takes ``axis``; the mean, or anything alike.
    """
    random = np.random.default_rng(0)
    drawn = [
        statistic(values[random.integers(0, len(values), len(values))], axis=0) for _ in range(RESAMPLES)
    ]
    return [round(float(edge), digits) for edge in np.percentile(drawn, TAILS_PERCENT)]


def detector_figures(pictures: Sequence[tuple[Boxes, Boxes, int]]) -> dict[str, float | list[float]]:
    """Return recall at an overlap of .5 and .75 and the mean overlap in percent, and false objects a picture.

    Recall is of all objects that are searched for. ``false_per_picture`` counts those that the detector is
    sure of, which a shopper sees first; ``false_searched_per_picture`` counts all.

    Args:
        pictures: true boxes ``(N, 4)`` and found boxes ``(M, 4)`` of each, as fractions or pixels alike, and
            how many of the found ones the detector is sure of: these come first.
    """
    at_50: list[float] = []
    at_75: list[float] = []
    ious: list[float] = []
    false: list[float] = []
    searched: list[float] = []
    sure_at_50: list[float] = []
    for truth, found, sure in pictures:
        pairs = match(truth, found, 0.5)
        table = overlap(truth, found)
        hits = {i for i, _ in pairs}
        fine = {i for i, j in pairs if table[i, j] >= 0.75}
        at_50 += [100.0 * (i in hits) for i in range(len(truth))]
        at_75 += [100.0 * (i in fine) for i in range(len(truth))]
        ious += [100.0 * float(row.max(initial=0.0)) for row in table]
        searched.append(float(len(found) - len(pairs)))
        sure_hits = {i for i, _ in match(truth, found[:sure], 0.5)}
        sure_at_50 += [100.0 * (i in sure_hits) for i in range(len(truth))]
        false.append(float(sure - len(sure_hits)))
    return {
        **with_interval("recall@.5", np.array(at_50)),
        **with_interval("recall@.75", np.array(at_75)),
        **with_interval("mean_iou", np.array(ious)),
        **with_interval("false_per_picture", np.array(false), digits=3),
        **with_interval("sure_recall@.5", np.array(sure_at_50)),
        **with_interval("false_searched_per_picture", np.array(searched), digits=3),
    }
