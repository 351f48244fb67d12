"""`vitrine rebuild`: the index from the database, when Milvus was wiped or replaced."""

from __future__ import annotations

import click

from cli.commands.import_ import describe, exit_code, follow
from cli.connection import connect
from cli.output import json_option, people, print_json, reporter_for


@click.command(epilog="Example: vitrine rebuild shop")
@click.argument("catalogue")
@json_option
def rebuild(catalogue: str, as_json: bool) -> int:
    """Write the index of CATALOGUE anew from its stored embeddings: no photo is embedded again."""
    console = people()
    with connect() as client:
        job = client.rebuild(catalogue)
        with reporter_for(console) as reporter:
            job = follow(client, job, reporter, lambda: False)
        if as_json:
            print_json(job)
        else:
            describe(client, job, console)
    return exit_code(job)
