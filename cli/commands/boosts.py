"""`vitrine boosts`: show or set the boosts of a catalogue."""

from __future__ import annotations

import click
from rich.text import Text

from cli.connection import connect
from cli.output import json_option, plain_table, print_json, stderr_console, stdout_console
from shared.contracts.search import MAX_BOOST_FACTOR, MIN_BOOST_FACTOR, Boost

FACTOR = click.FloatRange(MIN_BOOST_FACTOR, MAX_BOOST_FACTOR)


@click.command(
    epilog="""\b
Example: vitrine boosts shop --set 'tags contains "sale"' 1.2 --set 'attributes.stock = 0' 0.6
vitrine boosts shop                                # show the boosts
vitrine boosts shop --clear
"""
)
@click.argument("catalogue")
@click.option(
    "--set",
    "new_boosts",
    multiple=True,
    type=(str, FACTOR),
    metavar="FILTER FACTOR",
    help="Multiply the score of products that match FILTER, for ranking only; may be repeated.",
)
@click.option("--clear", is_flag=True, help="Remove all boosts.")
@json_option
def boosts(catalogue: str, new_boosts: tuple[tuple[str, float], ...], clear: bool, as_json: bool) -> None:
    """Show or set the boosts of CATALOGUE. A search can override them."""
    if new_boosts and clear:
        raise click.UsageError("--set replaces all boosts: do not combine it with --clear.")
    with connect() as client:
        if new_boosts or clear:
            boosts = [Boost(filter=filter_, factor=factor) for filter_, factor in new_boosts]
            found = client.set_boosts(catalogue, boosts)
        else:
            found = client.boosts(catalogue)
    if as_json:
        print_json(found)
        return
    if not found.boosts:
        stderr_console().print(f"{catalogue} has no boosts.")
        return
    table = plain_table("factor", "products")
    for boost in found.boosts:
        table.add_row(f"{boost.factor:g}", Text(boost.filter))
    stdout_console().print(table)
