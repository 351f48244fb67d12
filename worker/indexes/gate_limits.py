"""What an index version must keep to before it goes live by itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GateLimits:
    """Limits of the quality gate; shares are 0 to 1. See docs/reprocessing.md for why they are what they are.

    Attributes:
        queries: photos that are searched for in the old and in the new version.
        golden_loss: most that the share of golden queries whose product comes first may fall.
        known_loss: the same of the catalogue's own pictures, slightly changed.
        known_least: that share itself, where the old version cannot be asked.
        overlap_least: of the ten products found in the old version, how many the new one finds too.
        drift_most: most that the mean score of first hits may move.
        failed_most: most pictures that could not be used.
        wait_s: how long a promotion waits for search workers to load the models.
    """

    queries: int = 64
    golden_loss: float = 0.02
    known_loss: float = 0.05
    known_least: float = 0.5
    overlap_least: float = 0.1
    drift_most: float = 0.3
    failed_most: float = 0.005
    wait_s: float = 120.0
