"""`vitrine reconcile`: whether the index holds what the catalogue says, row by row."""

from __future__ import annotations

import click

from cli.commands.import_ import describe, exit_code, follow
from cli.connection import connect
from cli.output import json_option, people, print_json, reporter_for


@click.command(epilog="Example: vitrine reconcile shop --repair")
@click.argument("catalogue")
@click.option("--repair", is_flag=True, help="Write missing rows from the database, delete orphans.")
@json_option
def reconcile(catalogue: str, repair: bool, as_json: bool) -> int:
    """Compare CATALOGUE with its index: rows that are missing there, and rows that belong to nothing."""
    console = people()
    with connect() as client:
        job = client.reconcile(catalogue, repair)
        with reporter_for(console) as reporter:
            job = follow(client, job, reporter, lambda: False)
        if as_json:
            print_json(job)
        else:
            describe(client, job, console)
    return exit_code(job)
