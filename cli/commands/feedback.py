"""`vitrine feedback`: list feedback on hits, and export it as golden queries or CSV."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from cli.connection import connect
from cli.output import (
    csv_option,
    json_option,
    plain_table,
    print_json,
    print_pieces,
    require_one_form,
    stderr_console,
    stdout_console,
)
from shared.contracts.feedback import FeedbackOut
from shared.factories import image_limits
from shared.images import probe
from shared.settings import get_settings
from vitrine_client import Vitrine

_FILE, _PHOTOS = "benchmark.jsonl", "benchmark"
_WHOLE = (0.0, 0.0, 1.0, 1.0)


@click.group(epilog="Example: vitrine feedback list shop")
def feedback() -> None:
    """List and export feedback of shoppers on hits, if its storage is enabled: docs/feedback.md."""


@feedback.command(name="list", epilog="Example: vitrine feedback list shop")
@click.argument("catalogue")
@json_option
def list_(catalogue: str, as_json: bool) -> None:
    """List the feedback on hits of CATALOGUE, oldest first."""
    with connect() as client:
        found = list(client.feedback(catalogue))
    if as_json:
        print_json(found)
        return
    table = plain_table("when", "kind", "product", "rank", "score", "search")
    for f in found:
        when = f"{f.created_at:%Y-%m-%d %H:%M}"
        table.add_row(when, f.kind, f.product_id, str(f.rank), f"{f.score:.3f}", f.query_id)
    stdout_console().print(table)


@feedback.command(
    epilog="Example: vitrine feedback export shop --to ./labelled --clicks\n\n"
    "Then: vitrine golden import ./labelled --catalogue shop"
)
@click.argument("catalogue")
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for golden queries: benchmark.jsonl and the photos.",
)
@click.option("--clicks", is_flag=True, help="Also treat clicked products as right ones.")
@csv_option
@json_option
def export(catalogue: str, folder: Path | None, clicks: bool, as_csv: bool, as_json: bool) -> None:
    """Export photos of CATALOGUE with the right products from feedback as golden queries, or all as CSV."""
    if as_csv == (folder is not None):
        raise click.UsageError("Use --to FOLDER for golden queries, or --csv for a table.")
    require_one_form(as_csv, as_json)
    with connect() as client:
        if folder is None:
            print_pieces(client.feedback_csv(catalogue))
            return
        kinds = {"right", "click"} if clicks else {"right"}
        photos, objects = write_golden(
            client, select_right_answers(client.feedback(catalogue), kinds), folder
        )
    if as_json:
        print_json({"photos": photos, "objects": objects, "folder": str(folder)})
    else:
        stderr_console().print(
            f"{objects:,} objects of {photos:,} photos. What the quality gate asks next: "
            f"vitrine golden import {folder} --catalogue {catalogue}",
            soft_wrap=True,
        )


def select_right_answers(feedback_: Iterable[FeedbackOut], kinds: set[str]) -> list[FeedbackOut]:
    """Return one feedback per object of each photo: the last verdict `right`, else the last click.

    Products with a verdict `not_this` are excluded, also if they were clicked.
    """
    best: dict[tuple[str, int | None], FeedbackOut] = {}
    rejected: set[tuple[str, int | None, str]] = set()
    entries = list(feedback_)
    for f in entries:
        if f.kind == "not_this":
            rejected.add((f.query_id, f.object, f.product_id))
    for f in entries:
        target = f.query_id, f.object
        if f.kind not in kinds or not f.photo or (*target, f.product_id) in rejected:
            continue
        if target not in best or f.kind == "right" or best[target].kind == "click":
            best[target] = f
    return list(best.values())


def write_golden(client: Vitrine, found: Iterable[FeedbackOut], folder: Path) -> tuple[int, int]:
    """Write ``benchmark.jsonl`` and the photos; return the numbers of photos and objects."""
    by_search: dict[str, list[FeedbackOut]] = {}
    for f in found:
        by_search.setdefault(f.query_id, []).append(f)
    (folder / _PHOTOS).mkdir(parents=True, exist_ok=True)
    with (folder / _FILE).open("w", encoding="utf-8") as file:
        for query_id, objects in by_search.items():
            photo = client.feedback_photo(objects[0].id)
            name = f"{_PHOTOS}/{query_id}.jpg"
            (folder / name).write_bytes(photo)
            row = _row(name, photo, objects)
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return len(by_search), sum(map(len, by_search.values()))


def _row(name: str, photo: bytes, objects: list[FeedbackOut]) -> dict[str, Any]:
    info = probe(photo, image_limits(get_settings(), catalogue=False))
    width, height = info.width, info.height
    scale = (width, height, width, height)
    boxes = [[round(v * s, 1) for v, s in zip(f.box or _WHOLE, scale, strict=True)] for f in objects]
    return {
        "file": name,
        "kind": "multi" if len(objects) > 1 else "view",
        "size": [width, height],
        "objects": [{"product_id": f.product_id, "box": box} for f, box in zip(objects, boxes, strict=True)],
    }
