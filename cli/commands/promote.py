"""`vitrine promote`, `rollback` and `prune`: switch and drop index versions."""

from __future__ import annotations

from collections.abc import Callable

import click

from cli.client import VitrineClient
from cli.commands.import_ import describe, exit_code, follow
from cli.connection import connect
from cli.output import json_option, print_json, reporter_for, stderr_console
from shared.contracts import JobOut
from shared.contracts.indexes import PromoteRequest, PruneRequest, RollbackRequest

_index = click.option(
    "--index", type=click.IntRange(min=1), help="Number of the index version, from `vitrine indexes`."
)
_force = click.option(
    "--force", is_flag=True, help="Ignore the quality gate, and do not wait for search workers."
)


@click.command(epilog="Example: vitrine promote shop")
@click.argument("catalogue")
@_index
@_force
@json_option
def promote(catalogue: str, index: int | None, force: bool, as_json: bool) -> int:
    """Promote the ready index of CATALOGUE to the live one. No search fails or mixes two indexes."""
    request = PromoteRequest(index=index, force=force)
    return run_job(lambda client: client.promote(catalogue, request), as_json)


@click.command(epilog="Example: vitrine rollback shop")
@click.argument("catalogue")
@_index
@_force
@json_option
def rollback(catalogue: str, index: int | None, force: bool, as_json: bool) -> int:
    """Switch CATALOGUE immediately to the previously live index; then apply the changes since."""
    request = RollbackRequest(index=index, force=force)
    return run_job(lambda client: client.rollback(catalogue, request), as_json)


@click.command(epilog="Example: vitrine prune shop --all")
@click.argument("catalogue")
@_index
@click.option("--all", "everything", is_flag=True, help="All except the live index and those being filled.")
@json_option
def prune(catalogue: str, index: int | None, everything: bool, as_json: bool) -> int:
    """Drop indexes of CATALOGUE: retired ones except the last, and those that failed or were abandoned."""
    request = PruneRequest(index=index, all=everything)
    return run_job(lambda client: client.prune(catalogue, request), as_json)


def run_job(start: Callable[[VitrineClient], JobOut], as_json: bool, wait: bool = True) -> int:
    """Start a job, follow it until it ends unless ``wait`` is False, and print it; return the exit code."""
    console = stderr_console()
    with connect() as client:
        job = start(client)
        if wait:
            with reporter_for(console) as reporter:
                job = follow(client, job, reporter, lambda: False)
        if as_json:
            print_json(job)
        elif wait:
            describe(client, job, console)
        else:
            console.print(f"Job {job.id} has started: vitrine jobs watch {job.id}", soft_wrap=True)
    return exit_code(job)
