"""How fast a job goes, and when it will be done: told from the last minute, not from its start."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

#: Time between two samples, and how many are kept: a minute, or as many micro-batches as take longer.
SAMPLE_S = 5.0
_KEPT = 13
#: The least spread that is believed: no rate is known better than this.
_LEAST_SPREAD = 0.1


class Speed(NamedTuple):
    """Products a second: about ``rate``, and likely between ``slow`` and ``fast``."""

    rate: float
    slow: float
    fast: float


def add_sample(samples: Sequence[Sequence[float]] | None, at_s: float, done: int) -> list[list[float]]:
    """Return the samples with a new one, the oldest left out."""
    return [*(list(s) for s in _readable(samples)), [at_s, done]][-_KEPT:]


def recent_speed(samples: Sequence[Sequence[float]] | None, at_s: float) -> Speed | None:
    """Return the speed over the samples, or None while there are fewer than two.

    The range is one weighted standard deviation of the rates between neighbouring samples to either
    side, at least a tenth of the rate, and more while few samples are there. A job that has stood still
    since its last sample becomes slower with the time that passes.

    Args:
        at_s: the present.
    """
    points = _readable(samples)
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
    spread = max(math.sqrt(variance), rate * max(_LEAST_SPREAD, 0.5 / len(steps)))
    return Speed(rate, max(rate - spread, rate / 4), rate + spread)


def _readable(samples: Any) -> list[Sequence[float]]:
    """Return stored samples; none where they are damaged: the rate is then measured from now on."""
    pairs = samples if isinstance(samples, list | tuple) else ()
    sound = all(
        isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(n, int | float) for n in pair)
        for pair in pairs
    )
    return list(pairs) if sound else []
