"""`vitrine duplicates`: find duplicate products of a catalogue."""

from __future__ import annotations

import click
from rich.text import Text

from cli.client import VitrineClient
from cli.commands.import_ import describe, exit_code, follow
from cli.connection import connect
from cli.output import (
    ExitCode,
    csv_option,
    json_option,
    print_json,
    print_pieces,
    reporter_for,
    require_one_form,
    stderr_console,
    stdout_console,
)
from shared.contracts import JobOut
from shared.contracts.duplicates import DuplicateGroup, DuplicateKind, DuplicatesRequest

_DEFAULTS = DuplicatesRequest()


@click.command(
    epilog="Example: vitrine duplicates shop --near --csv > duplicates.csv\n\n"
    "Definition and accuracy: docs/duplicates.md."
)
@click.argument("catalogue")
@click.option(
    "--near/--exact",
    default=True,
    help="--near (the default): include similar pictures; --exact: the same bytes only.",
)
@click.option(
    "--max-bits",
    type=click.IntRange(0, 32),
    default=_DEFAULTS.max_bits,
    show_default=True,
    help="Near: maximum number of bits in which the hashes of pictures may differ.",
)
@click.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    default=_DEFAULTS.min_score,
    show_default=True,
    help="Near: minimum cosine of the embeddings.",
)
@click.option("--last", is_flag=True, help="Show the last result without a new search.")
@csv_option
@json_option
def duplicates(
    catalogue: str,
    near: bool,
    max_bits: int,
    min_score: float,
    last: bool,
    as_csv: bool,
    as_json: bool,
) -> int:
    """Find duplicate products of CATALOGUE, and suggest which to keep. Changes nothing."""
    require_one_form(as_csv, as_json)
    request = DuplicatesRequest(near=near, max_bits=max_bits, min_score=min_score)
    kind: DuplicateKind | None = None if near else "exact"
    code = ExitCode.OK
    with connect() as client:
        if not last:
            job = _find(client, catalogue, request)
            code = exit_code(job)
            if code is ExitCode.ERROR:
                describe(client, job, stderr_console())
                return code
        if as_csv:
            print_pieces(client.duplicates_csv(catalogue, kind))
        elif as_json:
            print_json(list(client.duplicates(catalogue, kind)))
        else:
            _print(client, catalogue, kind)
    return code


def _find(client: VitrineClient, catalogue: str, request: DuplicatesRequest) -> JobOut:
    job = client.find_duplicates(catalogue, request)
    with reporter_for(stderr_console()) as reporter:
        return follow(client, job, reporter, lambda: False)


def _print(client: VitrineClient, catalogue: str, kind: DuplicateKind | None) -> None:
    console, count = stdout_console(), 0
    for group in client.duplicates(catalogue, kind):
        count += 1
        console.print(Text(f"{group.kind} group {group.id}", style="bold"))
        for line in _lines(group):
            console.print(Text(line), soft_wrap=True)
    stderr_console().print(f"{count:,} groups of products that show the same thing.")


def _lines(group: DuplicateGroup) -> list[str]:
    return [
        f"  {'keep' if each.product_id == group.keep else '    '} {each.product_id}  "
        f"{each.similarity:.3f}  {each.title}"
        for each in group.products
    ]
