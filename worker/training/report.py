"""Write the report of a training, with curves and pictures, and its model card."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from worker.report_style import STYLE
from worker.vision import Image

WIDTH, HEIGHT, EDGE = 640, 220, 40
COLOURS = ("#0a7", "#e70", "#36c", "#a3a")


def write_report(
    path: Path,
    name: str,
    figures: dict[str, Any],
    losses: Sequence[tuple[int, float]],
    recalls: Sequence[tuple[int, float, float]],
    pictures: Sequence[Image],
) -> None:
    """Write a self-contained HTML report.

    Args:
        losses: (step, loss).
        recalls: (step, recall@1 %, recall@10 %), or empty.
        pictures: examples of the training pictures.
    """
    curves = [draw_curve("loss", {"loss": list(losses)})]
    if recalls:
        lines = {
            "recall@1 %": [(step, one) for step, one, _ in recalls],
            "recall@10 %": [(step, ten) for step, _, ten in recalls],
        }
        curves.append(draw_curve("held-out products", lines))
    rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(str(v))}</td></tr>" for k, v in figures.items())
    page = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f"<title>Training of {escape(name)}</title><style>{STYLE}</style></head>",
        f"<body><h1>Training of {escape(name)}</h1>",
        f"<table>{rows}</table>",
        *curves,
        "<h2>Training pictures</h2><p>",
        *(_inline(picture) for picture in pictures),
        "</p></body></html>",
    ]
    path.write_text("\n".join(page), encoding="utf-8")


def draw_curve(title: str, lines: dict[str, list[tuple[int, float]]]) -> str:
    """Draw lines over the steps as an SVG element; empty where there are no points."""
    points = [point for line in lines.values() for point in line]
    if not points:
        return ""
    steps, values = [step for step, _ in points], [value for _, value in points]
    low, high, last = min(values), max(values), max(max(steps), 1)
    span = (high - low) or 1.0

    def to_point(step: int, value: float) -> str:
        x = EDGE + (WIDTH - 2 * EDGE) * step / last
        y = HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * (value - low) / span
        return f"{x:.1f},{y:.1f}"

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" aria-label="{escape(title)}">',
        f'<path d="M{EDGE},{EDGE}V{HEIGHT - EDGE}H{WIDTH - EDGE}" fill="none" stroke="currentColor"/>',
        _text(2, EDGE, f"{high:.4g}"),
        _text(2, HEIGHT - EDGE, f"{low:.4g}"),
        _text(WIDTH - EDGE - 30, HEIGHT - 12, f"step {last}"),
    ]
    for number, (label, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        coordinates = " ".join(to_point(*point) for point in line)
        parts.append(f'<polyline points="{coordinates}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(EDGE + 10 + 130 * number, 20, label, colour))
    return "".join([*parts, "</svg>"])


def write_card(path: Path, name: str, entry: dict[str, Any], figures: dict[str, Any], command: str) -> None:
    """Write a model card: data, licence, command, figures."""
    rows = "\n".join(f"| {key} | {value} |" for key, value in figures.items())
    text = f"""# {name}
{entry["kind"].capitalize()}, {entry["architecture"]}, trained by `vitrine train`.

| | |
|---|---|
| start | {entry["source"]} |
| licence | {entry["licence"]}: check the licence of the pictures before publishing the weights |
| weights | `{entry["file"]}`, SHA-256 `{entry["sha256"]}` |

## Measured
Recall, in percent, is of composed photographs of held-out products among the first pictures of all products.

| | |
|---|---|
{rows}

## Training
```
{command}
```
{_golden_section(figures)}"""
    path.write_text(text, encoding="utf-8")


def _golden_section(figures: dict[str, Any]) -> str:
    """Format the card's section on golden queries; empty without any."""
    if "golden_used" not in figures:
        return ""
    used, held_out, left_out = (figures[f"golden_{what}"] for what in ("used", "held_out", "left_out"))
    return f"""
## Golden queries
{used} were trained on, as further photos of their products. {held_out} were held out by photo: they were used
neither for training nor for selection, and the rows `golden_before` and `golden_after` are of them alone.
{left_out} were left out, because their products were not cut out for this training. A quality gate with the
same photos measures training data: the figures above are unbiased.
"""


def _text(x: float, y: float, text: str, colour: str = "currentColor") -> str:
    return f'<text x="{x}" y="{y}" font-size="12" fill="{colour}">{escape(text)}</text>'


def _inline(picture: Image) -> str:
    small = cv2.resize(picture, (128, 128), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(np.asarray(small), cv2.COLOR_RGB2BGR))
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}">'
