"""Compute chart geometry that the templates draw as SVG, without scripts or libraries.

Charts use a view box of 600 by 100 that the page stretches. Labels are HTML next to it, so that they keep
their size on a phone.
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
    """A rectangle of a bar chart; ``x`` and ``y`` are the upper left corner."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Bars:
    """The bars from left to right, and the value at the upper edge."""

    top: float
    bars: list[Bar]


@dataclass(frozen=True)
class Lines:
    """One path per series, and the values at the lower and the upper edge."""

    bottom: float
    top: float
    paths: list[str]


def build_bars(values: Sequence[float]) -> Bars:
    """Build a bar for each non-negative value, on a scale from 0 to a round number."""
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


def build_lines(
    series: Sequence[Sequence[float | None]], bottom: float | None = 0.0, top: float | None = None
) -> Lines:
    """Build an SVG path for each series, interrupted at missing values.

    Args:
        series: of equal length.
        bottom: value at the lower edge; None: slightly below the minimum.
        top: value at the upper edge; None: a round number above the maximum.
    """
    present = [value for each in series for value in each if value is not None]
    high = top if top is not None else round_up(max(present, default=0.0))
    low = bottom if bottom is not None else min([*present, high]) - 0.1 * (high - min([*present, high]))
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
            # A single point is a line of zero length, which round caps render as a dot.
            pieces.append("M" + " L".join(points if len(points) > 1 else points * 2))
        paths.append(" ".join(pieces))
    return Lines(low, high, paths)


def round_up(value: float) -> float:
    """Round up to 1, 2 or 5 times a power of ten; 0 becomes 1."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * step for step in _STEPS if power * step >= value * (1 - 1e-9))
