"""`vitrine indexes`: list the index versions of a catalogue with their quality gates."""

from __future__ import annotations

import click
from rich.text import Text

from cli.connection import connect
from cli.output import json_option, plain_table, print_json, stdout_console
from cli.reports import gate_lines


@click.command(epilog="Example: vitrine indexes shop")
@click.argument("catalogue")
@json_option
def indexes(catalogue: str, as_json: bool) -> None:
    """List the index versions of CATALOGUE with state, models and quality gate."""
    with connect() as client:
        found = client.indexes(catalogue)
    if as_json:
        print_json(found)
        return
    table = plain_table("index", "state", "images", "detector", "embedder", "gate", "made")
    for each in found:
        gate = (each.report or {}).get("gate", {}).get("verdict", "-")
        state = each.state + (", rebuilding" if each.rebuilding else "")
        when = f"{each.created_at:%Y-%m-%d %H:%M}"
        table.add_row(str(each.number), state, str(each.images), each.detector, each.embedder, gate, when)
    console = stdout_console()
    console.print(table)
    for each in found:
        if each.state == "ready" and each.report is not None:
            console.print(Text(f"Index {each.number}:"))
            for line in gate_lines(each.report["gate"]):
                console.print(Text(line), soft_wrap=True)
