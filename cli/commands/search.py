"""`vitrine search`: a photo in, the products out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from cli.connection import connect
from cli.output import json_option, people, print_json, tables
from shared.contracts import Hit, SearchOptions, SearchResult


@click.command(epilog="Example: vitrine search photo.jpg --catalogue demo --top-k 10 --json")
@click.argument("photo", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--product", help="Search by a product of the catalogue instead of a photo.")
@click.option("--catalogue", default="demo", show_default=True, help="Catalogue to search.")
@click.option(
    "--top-k", default=20, show_default=True, type=click.IntRange(1, 1000), help="Most hits a group."
)
@click.option("--box", nargs=4, type=float, help="x0 y0 x1 y1 as fractions: search this crop only.")
@click.option("--detect/--no-detect", default=True, help="Search each object too, or only the whole image.")
@click.option("--category", help="Only products of this category.")
@click.option("--min-score", type=float, help="Only hits of at least this score.")
@click.option("--locale", default="en", show_default=True, help="Language of titles.")
@click.option(
    "--timeout", "timeout_s", default=60.0, show_default=True, help="Seconds to wait for the answer."
)
@json_option
def search(photo: Path | None, product: str | None, timeout_s: float, as_json: bool, **chosen: Any) -> None:
    """Find the products that PHOTO shows."""
    if (photo is None) == (product is None):
        raise click.UsageError("Name a photo, or a product with --product.")
    options = _options(chosen)
    with connect() as client:
        if photo is not None:
            result = client.search(photo, options, timeout_s)
        else:
            result = client.search_product(str(product), options, timeout_s)
    if as_json:
        print_json(result)
    else:
        _print_tables(result)


def _options(chosen: dict[str, Any]) -> SearchOptions:
    try:
        return SearchOptions.model_validate({k: v for k, v in chosen.items() if v is not None})
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _print_tables(result: SearchResult) -> None:
    console = tables()
    for number, found in enumerate(result.objects, start=1):
        edges = ", ".join(f"{edge:.2f}" for edge in found.box)
        console.print(_table(f"object {number}: {found.label} {found.confidence:.0%} at {edges}", found.hits))
    console.print(_table("whole image", result.whole.hits))
    timings = ", ".join(f"{stage} {ms:.0f} ms" for stage, ms in result.timings_ms.items())
    people().print(Text(timings, style="dim"), soft_wrap=True)


def _table(title: str, hits: list[Hit]) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column, justify in (("score", "right"), ("product", "left"), ("title", "left"), ("price", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for hit in hits:
        price = "" if hit.price is None else f"{hit.price.normalize():f} {hit.currency or ''}"
        table.add_row(f"{hit.score:.3f}", Text(hit.product_id), Text(hit.title), price)
    return table
