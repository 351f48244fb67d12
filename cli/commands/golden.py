"""`vitrine golden`: manage photos with a known right product."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from cli.connection import connect
from cli.output import ExitCode, json_option, plain_table, print_json, stderr_console, stdout_console
from shared.contracts.base import Box
from shared.errors import InvalidManifest, UnknownProduct

_catalogue = click.option("--catalogue", required=True, help="Catalogue of the golden queries.")


@click.group(epilog="Example: vitrine golden import ./labelled --catalogue shop")
def golden() -> None:
    """Manage photos with a known right product, which the quality gate uses before an index goes live."""


@golden.command(epilog="Example: vitrine golden add photo.jpg chair-7 --catalogue shop")
@click.argument("photo", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("product_id", metavar="PRODUCT")
@_catalogue
@click.option("--box", type=float, nargs=4, help="Box of the product in the photo: X0 Y0 X1 Y1, 0 to 1 each.")
@json_option
def add(photo: Path, product_id: str, catalogue: str, box: Box | None, as_json: bool) -> None:
    """Add PHOTO with the PRODUCT in it."""
    with connect() as client:
        made = client.add_golden(catalogue, photo, product_id, box)
    if as_json:
        print_json(made)
    else:
        stderr_console().print(f"Added golden query {made.id}.")


@golden.command(name="list", epilog="Example: vitrine golden list --catalogue shop")
@_catalogue
@json_option
def list_(catalogue: str, as_json: bool) -> None:
    """List the golden queries of a catalogue."""
    with connect() as client:
        found = list(client.golden(catalogue))
    if as_json:
        print_json(found)
        return
    table = plain_table("golden query", "product", "box", "from")
    for each in found:
        box = "-" if each.box is None else " ".join(f"{v:.2f}" for v in each.box)
        table.add_row(each.id, each.product_id, box, each.source)
    stdout_console().print(table)


@golden.command(name="import", epilog="Example: vitrine golden import ./labelled --catalogue shop")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@_catalogue
@click.option("--limit", type=click.IntRange(min=1), help="Maximum number of queries, evenly spread.")
@json_option
def import_(folder: Path, catalogue: str, limit: int | None, as_json: bool) -> int:
    """Add all objects of FOLDER/benchmark.jsonl.

    Each line is a photo with `file`, `size` [width, height] and `objects`, each with `product_id` and `box`
    in pixels. Products that are not in CATALOGUE are skipped.
    """
    queries = list(read_golden_set(folder))
    if limit is not None and limit < len(queries):
        queries = [queries[k * len(queries) // limit] for k in range(limit)]
    added = unknown = 0
    with connect() as client:
        for photo, product_id, box in queries:
            try:
                client.add_golden(catalogue, photo, product_id, box)
                added += 1
            except UnknownProduct:
                unknown += 1
    if as_json:
        print_json({"added": added, "unknown_products": unknown})
    else:
        stderr_console().print(f"Added {added} golden queries; {unknown} are of products that are not here.")
    return ExitCode.PARTIAL if unknown else ExitCode.OK


@golden.command(epilog="Example: vitrine golden remove ID --catalogue shop")
@click.argument("golden_id", metavar="ID")
@_catalogue
@json_option
def remove(golden_id: str, catalogue: str, as_json: bool) -> None:
    """Remove a golden query."""
    with connect() as client:
        client.remove_golden(catalogue, golden_id)
    if as_json:
        print_json({"removed": golden_id})
    else:
        stderr_console().print("Removed.")


def read_golden_set(folder: Path) -> Iterator[tuple[Path, str, Box]]:
    """Yield photo, product id and box (0 to 1) of all objects of benchmark.jsonl; raise InvalidManifest."""
    try:
        lines = (folder / "benchmark.jsonl").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidManifest(f"{folder / 'benchmark.jsonl'} cannot be read.") from error
    for number, line in enumerate(lines, 1):
        try:
            row: dict[str, Any] = json.loads(line)
            photo, (width, height) = folder / row["file"], row["size"]
            boxes = [(o["product_id"], o["box"]) for o in row["objects"]]
            for product_id, (x0, y0, x1, y1) in boxes:
                yield photo, str(product_id), (x0 / width, y0 / height, x1 / width, y1 / height)
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise InvalidManifest(
                f"Line {number} of benchmark.jsonl needs file, size, and objects with product_id and box."
            ) from error
