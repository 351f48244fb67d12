"""Limits that an index version must meet before it goes live automatically."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GateLimits:
    """Limits of the quality gate; shares are 0 to 1. See docs/reprocessing.md for why they are what they are.

    Attributes:
        queries: number of photos that are searched for in the old and in the new version.
        golden_loss: maximum fall of the share of golden queries whose product comes first.
        known_loss: maximum fall of the share of slightly changed catalogue pictures whose product comes
            first.
        min_known_recall: minimum of that share, where the old version cannot be searched.
        min_overlap: minimum share of the ten products of the old version that the new one finds too.
        max_score_drift: maximum change of the mean score of first hits.
        max_failed_share: maximum share of pictures that could not be used.
        wait_s: how long a promotion waits for search workers to load the models.
    """

    queries: int = 64
    golden_loss: float = 0.02
    known_loss: float = 0.05
    min_known_recall: float = 0.5
    min_overlap: float = 0.1
    max_score_drift: float = 0.3
    max_failed_share: float = 0.005
    wait_s: float = 120.0
