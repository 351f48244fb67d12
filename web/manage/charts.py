"""Charts as geometry: what the templates draw as SVG, with no script and no library.

All are drawn in a field of 600 by 100 that the page stretches; words and numbers stand beside it in HTML, so
that they keep their size on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

WIDTH, HEIGHT = 600.0, 100.0
_GAP = 0.2
_STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Bar:
    """A rectangle of a bar chart; ``x`` and ``y`` are its upper left corner."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Bars:
    """Bars from left to right, and the value at the upper edge."""

    top: float
    bars: list[Bar]


@dataclass(frozen=True)
class Lines:
    """One path a series, and the values at the lower and the upper edge."""

    bottom: float
    top: float
    paths: list[str]


def bars(values: Sequence[float]) -> Bars:
    """Return a bar for each value of at least 0, on a scale from 0 to a round number."""
    top = round_up(max(values, default=0.0))
    step = WIDTH / max(len(values), 1)
    return Bars(
        top,
        [
            Bar(
                round(n * step + step * _GAP / 2, 2),
                round(HEIGHT * (1 - value / top), 2),
                round(step * (1 - _GAP), 2),
                round(HEIGHT * value / top, 2),
            )
            for n, value in enumerate(values)
        ],
    )


def lines(
    series: Sequence[Sequence[float | None]], bottom: float | None = 0.0, top: float | None = None
) -> Lines:
    """Return each series as an SVG path that is broken where a value is missing.

    Args:
        series: of equal length.
        bottom: value at the lower edge; None: a little below the least.
        top: value at the upper edge; None: a round number above the greatest.
    """
    there = [value for each in series for value in each if value is not None]
    high = top if top is not None else round_up(max(there, default=0.0))
    low = bottom if bottom is not None else min([*there, high]) - 0.1 * (high - min([*there, high]))
    span = (high - low) or 1.0

    def point(n: int, value: float, count: int) -> str:
        x = WIDTH * n / max(count - 1, 1)
        y = HEIGHT * (1 - (min(max(value, low), high) - low) / span)
        return f"{x:.1f} {y:.1f}"

    paths = []
    for each in series:
        pieces = []
        for missing, run in groupby(enumerate(each), key=lambda pair: pair[1] is None):
            if missing:
                continue
            points = [point(n, value, len(each)) for n, value in run if value is not None]
            # A lone point is a line of no length, which round caps make a dot.
            pieces.append("M" + " L".join(points if len(points) > 1 else points * 2))
        paths.append(" ".join(pieces))
    return Lines(low, high, paths)


def round_up(value: float) -> float:
    """Return the next 1, 2 or 5 times a power of ten: a scale that is easy to read; 1 for 0."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * step for step in _STEPS if power * step >= value * (1 - 1e-9))
