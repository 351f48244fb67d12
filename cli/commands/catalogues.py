"""`vitrine catalogues`: list, create and delete catalogues."""

from __future__ import annotations

import click

from cli.commands.promote import run_job
from cli.connection import connect
from cli.output import json_option, plain_table, print_json, stderr_console, stdout_console


@click.group(epilog="Example: vitrine catalogues create winter --currency NOK")
def catalogues() -> None:
    """List, create and delete catalogues."""


@catalogues.command(name="list", epilog="Example: vitrine catalogues list")
@json_option
def list_(as_json: bool) -> None:
    """List catalogues with their numbers of products and images."""
    with connect() as client:
        found = client.catalogues()
    if as_json:
        print_json(found)
        return
    table = plain_table("catalogue", "products", "images", "currency", "embedder")
    for each in found:
        counts = (f"{each.products:,}", f"{each.images:,}")
        table.add_row(each.name, *counts, each.currency, each.embedder or "-")
    stdout_console().print(table)


@catalogues.command(epilog="Example: vitrine catalogues create winter --currency NOK")
@click.argument("name")
@click.option("--currency", default="EUR", show_default=True, help="Default currency of prices.")
@json_option
def create(name: str, currency: str, as_json: bool) -> None:
    """Create the catalogue NAME, unless it exists. An import creates its catalogue automatically."""
    with connect() as client:
        made = client.make_catalogue(name, currency)
    if as_json:
        print_json(made)
    else:
        stderr_console().print(
            f"{made.name} has {made.products:,} products; its currency is {made.currency}."
        )


@catalogues.command(epilog="Example: vitrine catalogues delete winter --yes")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Delete without confirmation.")
@json_option
def delete(name: str, yes: bool, as_json: bool) -> int:
    """Delete the catalogue NAME with products, indexes, golden queries and jobs. This cannot be undone.

    Refused while jobs are open on it: wait for them, or cancel them.
    """
    if not yes:
        if as_json:
            raise click.UsageError("--json cannot ask for confirmation: add --yes.")
        click.confirm(f"Delete {name} and all its content?", abort=True, err=True)
    return run_job(lambda client: client.delete_catalogue(name), as_json)
