"""Estimate the rate of a job from the samples of its last minute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

#: Interval between two samples. Micro-batches that take longer make it longer.
SAMPLE_S = 5.0
#: Maximum number of samples: a minute at the interval above.
_MAX_SAMPLES = 13
#: Minimum relative spread of a rate; a smaller one would pretend precision.
_MIN_SPREAD = 0.1


class Speed(NamedTuple):
    """Products per second: the estimate ``rate``, and its likely range from ``slow`` to ``fast``."""

    rate: float
    slow: float
    fast: float


def add_sample(samples: Sequence[Sequence[float]] | None, at_s: float, done: int) -> list[list[float]]:
    """Return the samples with a new one, without those over the maximum number."""
    return [*(list(s) for s in readable_samples(samples)), [at_s, done]][-_MAX_SAMPLES:]


def recent_speed(samples: Sequence[Sequence[float]] | None, at_s: float) -> Speed | None:
    """Return the speed over the samples, or None while there are fewer than two.

    The range is one weighted standard deviation of the rates between neighbouring samples to either side, at
    least a tenth of the rate, and more with few samples. The rate of a job that records nothing decreases
    with time.

    Args:
        at_s: current time.
    """
    points = readable_samples(samples)
    if len(points) < 2:
        return None
    last_s, last_done = points[-1]
    usual_s = (last_s - points[0][0]) / (len(points) - 1)
    if at_s - last_s > 2 * max(usual_s, SAMPLE_S):
        points.append((at_s, last_done))
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(points) if b[0] > a[0]]
    seconds, done = sum(s for s, _ in steps), sum(d for _, d in steps)
    if seconds <= 0 or done <= 0:
        return None
    rate = done / seconds
    variance = sum(s * (d / s - rate) ** 2 for s, d in steps) / seconds
    spread = max(math.sqrt(variance), rate * max(_MIN_SPREAD, 0.5 / len(steps)))
    return Speed(rate, max(rate - spread, rate / 4), rate + spread)


def readable_samples(samples: Any) -> list[Sequence[float]]:
    """Return stored samples, or none if they are damaged: the rate is then measured from now on."""
    pairs = samples if isinstance(samples, list | tuple) else ()
    sound = all(
        isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(n, int | float) for n in pair)
        for pair in pairs
    )
    return list(pairs) if sound else []
