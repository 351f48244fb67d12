"""`vitrine search`: search for products by photo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from cli.commands.boosts import FACTOR
from cli.connection import connect
from cli.output import json_option, print_json, stderr_console, stdout_console
from shared.contracts import Hit, SearchOptions, SearchResult
from shared.contracts.search import PredictedCategory

#: Epilog of the help; the first character prevents rewrapping.
_EXAMPLES = """\b
Example: vitrine search photo.jpg --catalogue demo --top-k 10 --json
vitrine search photo.jpg --filter 'price < 200 and colour in ["red", "orange"]'
vitrine search front.jpg side.jpg                  # photos of one object
vitrine search photo.jpg --locale ja --currency JPY
vitrine search --product chair-1 --unlike chair-9
vitrine search --again QUERY_ID --box 0.1 0.1 0.5 0.5
vitrine search --after NEXT                        # a group's next page
"""


@click.command(epilog=_EXAMPLES)
@click.argument(
    "photos", metavar="[PHOTO]...", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--url", metavar="ADDRESS", help="Search by the photo at this address, if the server may fetch it."
)
@click.option("--product", help="Search by a product of the catalogue instead of a photo.")
@click.option("--again", metavar="QUERY_ID", help="Repeat an earlier search by photo.")
@click.option("--after", metavar="NEXT", help="Next page: the `next` of a group in the output of --json.")
@click.option("--catalogue", default="demo", show_default=True, help="Catalogue to search.")
@click.option(
    "--top-k",
    default=20,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Maximum number of hits per group.",
)
@click.option("--box", nargs=4, type=float, help="x0 y0 x1 y1 as fractions: search with this crop only.")
@click.option(
    "--detect/--no-detect", default=True, help="Search with each object, or only with the whole image."
)
@click.option("--category", help="Only products of this category.")
@click.option("--filter", help="Only products that match; see docs/filters.md.")
@click.option("--min-score", type=float, help="Minimum score of hits.")
@click.option(
    "--min-probability",
    type=click.FloatRange(0, 1),
    help="Minimum probability of hits; for photos in calibrated catalogues.",
)
@click.option(
    "--boost",
    "boosts",
    multiple=True,
    type=(str, FACTOR),
    metavar="FILTER FACTOR",
    help="Replace the catalogue's boosts by factors for matching products; may be repeated.",
)
@click.option("--no-boosts", is_flag=True, help="Rank by score only, without the catalogue's boosts.")
@click.option("--like", multiple=True, metavar="PRODUCT", help="Resemble this product more; may be repeated.")
@click.option(
    "--unlike", multiple=True, metavar="PRODUCT", help="Resemble this product less; may be repeated."
)
@click.option("--repeat", is_flag=True, help="List a product in every group that finds it.")
@click.option("--locale", default="en", show_default=True, help="Language of titles.")
@click.option("--currency", metavar="CODE", help="Convert prices to this currency; see `vitrine rates show`.")
@click.option(
    "--timeout", "timeout_s", default=60.0, show_default=True, help="Maximum seconds to wait for the result."
)
@json_option
def search(
    photos: tuple[Path, ...],
    url: str | None,
    product: str | None,
    again: str | None,
    after: str | None,
    timeout_s: float,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Search for the products in PHOTO; several photos must show one object."""
    sources = [source for source in (photos, url, product, again, after) if source]
    if len(sources) > 1 or not (sources or chosen["like"]):
        raise click.UsageError("Give a photo, or one of --url, --product, --again, --after, or --like.")
    options = _options(chosen)
    with connect() as client:
        if after:
            result = client.next_page(after, **_for_page(click.get_current_context()), deadline_s=timeout_s)
        elif photos:
            result = client.search(photos, options, timeout_s)
        elif url:
            result = client.search_url(url, options, timeout_s)
        elif again:
            result = client.search_again(again, options, timeout_s)
        elif product:
            result = client.search_product(product, options, timeout_s)
        else:
            result = client.search_like(options, timeout_s)
    if as_json:
        print_json(result)
    else:
        _print_tables(result)


#: Options that may be combined with --after; the first page determines all others.
_PAGE_OPTIONS = ("top_k", "locale", "currency")


def _for_page(context: click.Context) -> dict[str, Any]:
    """Return the given options of a page; raise UsageError for others than ``_PAGE_OPTIONS``."""
    given = {
        name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    others = given - {"after", "timeout_s", "as_json", *_PAGE_OPTIONS}
    if others:
        option = min(others).replace("_", "-")
        raise click.UsageError(
            f"--after accepts only --top-k, --locale and --currency: the first page determines --{option}."
        )
    return {name: context.params[name] for name in _PAGE_OPTIONS if name in given}


def _options(chosen: dict[str, Any]) -> SearchOptions:
    boosts = [{"filter": filter_, "factor": factor} for filter_, factor in chosen.pop("boosts")]
    if chosen.pop("no_boosts"):
        if boosts:
            raise click.UsageError("--boost and --no-boosts exclude each other: choose one.")
        chosen["boosts"] = []
    elif boosts:
        chosen["boosts"] = boosts
    try:
        return SearchOptions.model_validate({k: v for k, v in chosen.items() if v is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        option = str(first["loc"][0]).removesuffix("s").replace("_", "-") if first["loc"] else "box"
        raise click.UsageError(f"--{option}: {first['msg'].removeprefix('Value error, ')}.") from error


def _print_tables(result: SearchResult) -> None:
    console = stdout_console()
    for number, found in enumerate(result.objects, start=1):
        edges = ", ".join(f"{edge:.2f}" for edge in found.box)
        title = f"object {number}: {found.label} {found.confidence:.0%} at {edges}"
        console.print(_table(title + _kind(found.category), found.hits))
    if result.whole.hits or not result.objects:
        console.print(_table("whole image" + _kind(result.whole.category), result.whole.hits))
    timings = ", ".join(f"{stage} {ms:.0f} ms" for stage, ms in result.timings_ms.items())
    stderr_console().print(Text(timings, style="dim"), soft_wrap=True)


def _kind(found: PredictedCategory | None) -> str:
    return "" if found is None or found.given else f", {found.confidence:.0%} {found.value}"


def _table(title: str, hits: list[Hit]) -> Table:
    table = Table(title=Text(title), title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("score", "probability", "product", "title", "price"):
        table.add_column(column, justify="left" if column in ("product", "title") else "right")
    for hit in hits:
        price = "" if hit.price is None else f"{hit.price.normalize():f} {hit.currency or ''}"
        sure = "-" if hit.probability is None else f"{hit.probability:.0%}"
        table.add_row(f"{hit.score:.3f}", sure, Text(hit.product_id), Text(hit.title), price)
    return table
