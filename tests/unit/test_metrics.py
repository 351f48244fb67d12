"""Figures of an evaluation, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from worker.evaluation.metrics import (
    detector_figures,
    interval,
    product_rank,
    search_figures,
    with_interval,
)
from worker.vision.crops import match


def boxes(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def test_a_product_counts_once_with_its_best_image_for_any_query() -> None:
    owners = np.array([0, 0, 1, 2], np.intp)
    scores = np.array([[0.1, 0.9, 0.8, 0.2], [0.3, 0.1, 0.1, 0.85]], np.float32)
    assert [product_rank(scores, owners, product) for product in (0, 1, 2)] == [1, 3, 2]


def test_equal_scores_do_not_flatter() -> None:
    owners = np.arange(5)
    assert product_rank(np.ones((1, 5), np.float32), owners, 2) == 5


def test_search_figures() -> None:
    figures = search_figures([1, 2, 10, 11, None])
    assert figures["n"] == 5
    assert figures["recall@1"] == pytest.approx(20)
    assert figures["recall@10"] == pytest.approx(60)
    assert figures["map"] == pytest.approx(100 * (1 + 1 / 2 + 1 / 10 + 1 / 11) / 5, abs=0.01)
    low, high = figures["recall@10_ci"]  # type: ignore[misc]
    assert 0 <= low < 60 < high <= 100


def test_no_queries_is_no_error() -> None:
    assert search_figures([]) == {
        "n": 0,
        "recall@1": 0.0,
        "recall@1_ci": [0.0, 0.0],
        "recall@10": 0.0,
        "recall@10_ci": [0.0, 0.0],
        "map": 0.0,
        "map_ci": [0.0, 0.0],
    }


def test_interval_has_the_width_that_theory_gives() -> None:
    values = np.array([0.0] * 300 + [100.0] * 100)
    low, high = interval(values, np.mean)
    error = 1.96 * values.std() / np.sqrt(400)
    assert low == pytest.approx(25 - error, abs=0.8)
    assert high == pytest.approx(25 + error, abs=0.8)
    assert interval(values, np.mean) == [low, high]
    assert with_interval("x", np.full(9, 7.0)) == {"x": 7.0, "x_ci": [7.0, 7.0]}


def test_each_box_is_matched_once_and_the_best_pair_first() -> None:
    truth = boxes((0, 0, 10, 10), (10, 0, 20, 10))
    found = boxes((1, 0, 11, 10), (0, 0, 10, 10), (50, 50, 60, 60))
    assert match(truth, found, 0.5) == [(0, 1)]
    assert match(truth, found[:0], 0.5) == []


def test_detector_figures() -> None:
    pictures = [
        # One exact and one false; doubtful: one at an overlap of 0.6, one false.
        (
            boxes((0, 0, 10, 10), (20, 0, 30, 10)),
            boxes((0, 0, 10, 10), (80, 80, 90, 90), (22.5, 0, 32.5, 10), (60, 60, 70, 70)),
            2,
        ),
        # Missed.
        (boxes((0, 0, 10, 10)), boxes(), 0),
        # Nothing there, nothing found.
        (boxes(), boxes(), 0),
    ]
    figures = detector_figures(pictures)
    assert figures["recall@.5"] == pytest.approx(66.67)
    assert figures["recall@.75"] == pytest.approx(33.33)
    assert figures["mean_iou"] == pytest.approx(100 * (1 + 0.6 + 0) / 3, abs=0.01)
    assert figures["false_per_picture"] == pytest.approx(1 / 3, abs=1e-3)
    assert figures["false_searched_per_picture"] == pytest.approx(2 / 3, abs=1e-3)
    assert figures["sure_recall@.5"] == pytest.approx(33.33)
