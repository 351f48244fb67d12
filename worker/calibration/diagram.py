"""Draw reliability diagrams, predicted probability against observed share, as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

_SIDE, _LEFT, _TOP = 260, 46, 34
_INKS = ("#2563eb", "#c2410c", "#15803d", "#7e22ce")


def draw_reliability(title: str, lines: Mapping[str, dict[str, Any]]) -> str:
    """Draw a diagram; perfect calibration is the diagonal. A dot's area is its number of hits.

    Args:
        lines: results of ``measure_calibration``, by their names in the legend.
    """
    parts = [_frame(title)]
    for number, (name, found) in enumerate(lines.items()):
        parts += _line(name, found, number)
    height = _TOP + _SIDE + 44 + 18 * len(lines)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _SIDE + 24} {height}" role="img" '
        f'width="{_LEFT + _SIDE + 24}" height="{height}" font-family="system-ui, sans-serif" font-size="12">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _to_pixels(predicted: float, observed: float) -> tuple[float, float]:
    return round(_LEFT + predicted * _SIDE, 1), round(_TOP + (1 - observed) * _SIDE, 1)


def _frame(title: str) -> str:
    (x0, y0), (x1, y1) = _to_pixels(0, 0), _to_pixels(1, 1)
    ticks = ""
    for step in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        x, y = _to_pixels(step, step)
        ticks += (
            f'<text x="{x}" y="{y0 + 15}" text-anchor="middle">{step:g}</text>'
            f'<text x="{x0 - 6}" y="{y + 4}" text-anchor="end">{step:g}</text>'
        )
    return (
        f'<text x="{x0}" y="18" font-weight="600">{escape(title)}</text>'
        f'<rect x="{x0}" y="{y1}" width="{_SIDE}" height="{_SIDE}" fill="none" stroke="#888"/>'
        f'<line x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}" stroke="#888" stroke-dasharray="4 4"/>'
        f'<g fill="currentColor">{ticks}'
        f'<text x="{x0 + _SIDE / 2}" y="{y0 + 32}" text-anchor="middle">predicted</text>'
        f'<text transform="translate(12 {y1 + _SIDE / 2}) rotate(-90)" text-anchor="middle">observed</text>'
        "</g>"
    )


def _line(name: str, found: dict[str, Any], number: int) -> list[str]:
    ink = _INKS[number % len(_INKS)]
    bins = found["bins"]
    points = [_to_pixels(b["said"], b["came_true"]) for b in bins]  # prose: ignore (stored key)
    peak = max((b["n"] for b in bins), default=1)
    path = " ".join(f"{x},{y}" for x, y in points)
    y = _TOP + _SIDE + 50 + 18 * number
    ece = "not measured" if found["ece"] is None else f"calibration error {found['ece']:.3f}"
    return [
        f'<polyline points="{path}" fill="none" stroke="{ink}" stroke-width="1.5"/>',
        *(
            f'<circle cx="{x}" cy="{y_}" r="{2 + 6 * (b["n"] / peak) ** 0.5:.1f}" fill="{ink}" opacity=".6"/>'
            for (x, y_), b in zip(points, bins, strict=True)
        ),
        f'<circle cx="{_LEFT + 5}" cy="{y - 4}" r="4" fill="{ink}"/>',
        f'<text x="{_LEFT + 16}" y="{y}" fill="currentColor">{escape(name)}: {ece}, {found["n"]} hits</text>',
    ]
