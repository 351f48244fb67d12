"""Write an evaluation as one HTML file: figures, and the worst cases as pictures."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np

from shared.contracts.base import Box
from worker.calibration.diagram import draw_reliability
from worker.evaluation.dataset import KINDS
from worker.evaluation.run import Answer, Report, load_image
from worker.report_style import STYLE
from worker.vision import Image
from worker.vision.crops import resize, to_pixels

#: Maximum number of worst cases.
MAX_CASES = 48
#: Longer side of a picture.
THUMBNAIL_PX = 220
#: Colours of true and of found boxes, RGB.
TRUE_COLOUR, FOUND_COLOUR = (0, 170, 60), (240, 120, 0)


def write_page(report: Report, path: Path) -> None:
    """Write a self-contained page, without network access."""
    worst = worst_answers(report.answers)
    models = ", ".join(f"{name} {version}" for name, version in report.figures["models"].items())
    page = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Evaluation</title>',
        f"<style>{STYLE}</style></head><body><h1>Evaluation</h1><p>{escape(models)}</p>",
        *_tables(report),
        *_calibration(report),
        f"<h2>The {len(worst)} worst cases</h2>",
        "<p>Green: the expected product. Orange: the searched boxes. "
        "Next to it: the product in the gallery, and the best hit.</p><ul>",
        *(_case(answer, report) for answer in worst),
        "</ul></body></html>",
    ]
    path.write_text("\n".join(page), encoding="utf-8")


def worst_answers(answers: Sequence[Answer]) -> list[Answer]:
    """Return the worst answers: objects not found, then the lowest ranks."""
    wrong = [answer for answer in answers if answer.rank != 1]
    return sorted(wrong, key=lambda a: -(a.rank or 1_000_000_000))[:MAX_CASES]


def _tables(report: Report) -> list[str]:
    columns = ("kind", "n", "recall@1 %", "recall@10 %", "mAP %", "recall@1 % of the first object alone")
    head = "<tr>" + "".join(f"<th>{column}</th>" for column in columns) + "</tr>"
    rows = []
    for kind in KINDS:
        figures = report.figures[kind]
        present = [name for name in ("recall@1", "recall@10", "map", "first_recall@1") if name in figures]
        cells = "".join(f"<td>{_cell(figures, name)}</td>" for name in present)
        rows.append(f"<tr><td>{kind}</td><td>{figures['n']}</td>{cells}</tr>")
    names = ("recall@.5", "recall@.75", "mean_iou", "false_per_picture", "false_searched_per_picture")
    titles = "".join(f"<th>{name}</th>" for name in names)
    cells = "".join(f"<td>{_cell(report.figures['detector'], name)}</td>" for name in names)
    return [
        f"<table>{head}{''.join(rows)}</table>",
        f"<table><tr><th>detector</th>{titles}</tr><tr><td></td>{cells}</tr></table>",
        "<p><small>In brackets: 95 % bootstrap intervals.</small></p>",
    ]


def _calibration(report: Report) -> list[str]:
    found = report.figures.get("calibration")
    if found is None:
        return []
    parts = {"object": "an object", "whole": "the whole photo"}
    lines = {f"first hit of {name}": found[part]["first"] for part, name in parts.items() if part in found}
    lines |= {f"all hits of {name}": found[part]["all"] for part, name in parts.items() if part in found}
    return [
        "<h2>Probabilities</h2>",
        "<p>Fitted on photos composed of the gallery's own pictures, applied to the photographs.</p>",
        draw_reliability("Probability of the same product", lines),
    ]


def _cell(figures: dict[str, float | list[float]], name: str) -> str:
    low, high = figures[f"{name}_ci"]  # type: ignore[misc]
    return f"{figures[name]} <small>({low} to {high})</small>"


def _case(answer: Answer, report: Report) -> str:
    rank = "not detected" if answer.rank is None else f"rank {answer.rank}"
    name = escape(f"{answer.photograph.path.name} ({answer.photograph.kind}): {answer.expected.product_id}")
    expected = answer.expected.product_id
    pictures = [_picture(_draw_boxes(answer), "photograph"), _gallery_picture(expected, report)]
    if answer.best is not None and answer.best != expected:
        pictures.append(_gallery_picture(answer.best, report))
    return f"<li><p>{name}: <b>{rank}</b></p>{''.join(pictures)}</li>"


def _draw_boxes(answer: Answer) -> Image:
    image = _thumbnail(load_image(answer.photograph.path))
    boxes: list[tuple[Box, tuple[int, int, int]]] = [(box, FOUND_COLOUR) for box in answer.objects]
    for box, colour in [*boxes, (answer.expected.box, TRUE_COLOUR)]:
        x0, y0, x1, y1 = to_pixels(box, image.shape[1], image.shape[0])
        cv2.rectangle(image, (x0, y0), (x1 - 1, y1 - 1), colour, 2)
    return image


def _gallery_picture(product_id: str, report: Report) -> str:
    return _picture(_thumbnail(load_image(report.gallery[product_id])), product_id)


def _thumbnail(image: Image) -> Image:
    scale = min(1.0, THUMBNAIL_PX / max(image.shape[:2]))
    small = resize(image, max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.ascontiguousarray(small)


def _picture(image: Image, title: str) -> str:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])
    source = base64.b64encode(data.tobytes()).decode()
    name = escape(title)
    return f'<figure><img src="data:image/jpeg;base64,{source}" alt="{name}" title="{name}"></figure>'
