"""`vitrine jobs`: what imports and other long work came to."""

from __future__ import annotations

import click
from rich.table import Table
from rich.text import Text

from cli.commands.import_ import describe, exit_code, follow
from cli.connection import connect
from cli.output import ExitCode, json_option, people, print_json, reporter_for, tables


@click.group()
def jobs() -> None:
    """List, show and cancel jobs."""


@jobs.command(name="list", epilog="Example: vitrine jobs list --catalogue shop")
@click.option("--catalogue", help="Only this catalogue's.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="Most jobs.")
@json_option
def list_(catalogue: str | None, limit: int, as_json: bool) -> None:
    """The newest jobs, newest first."""
    with connect() as client:
        found = client.jobs(catalogue, limit)
    if as_json:
        print_json([job.model_dump(mode="json") for job in found])
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("job", "kind", "catalogue", "state", "done", "failed", "started"):
        table.add_column(column)
    for job in found:
        done = f"{job.done} of {'?' if job.total is None else job.total}"
        when = f"{job.created_at:%Y-%m-%d %H:%M}"
        table.add_row(job.id, job.kind, job.catalogue, job.state, done, str(job.counts.failed), when)
    tables().print(table)


@jobs.command(epilog="Example: vitrine jobs show JOB --wait")
@click.argument("job_id", metavar="JOB")
@click.option("--wait", is_flag=True, help="Follow it to its end.")
@json_option
def show(job_id: str, wait: bool, as_json: bool) -> int:
    """One job with its counts, and its first failures."""
    console = people()
    with connect() as client:
        job = client.job(job_id)
        if wait:
            with reporter_for(console) as reporter:
                job = follow(client, job, reporter, lambda: False)
        if as_json:
            print_json(job)
        else:
            describe(client, job, console)
    return exit_code(job) if wait else ExitCode.OK


@jobs.command(epilog="Example: vitrine jobs failures JOB --json")
@click.argument("job_id", metavar="JOB")
@json_option
def failures(job_id: str, as_json: bool) -> None:
    """What the job could not use, row by row."""
    with connect() as client:
        found = list(client.failures(job_id))
    if as_json:
        print_json([failure.model_dump(mode="json") for failure in found])
        return
    console = tables()
    for failure in found:
        what = " ".join(part for part in (failure.product_id, failure.image) if part)
        console.print(Text(f"row {failure.row} {what}: {failure.reason}: {failure.message}"), soft_wrap=True)


@jobs.command(epilog="Example: vitrine jobs cancel JOB")
@click.argument("job_id", metavar="JOB")
@json_option
def cancel(job_id: str, as_json: bool) -> None:
    """Stop a job; what is done stays."""
    with connect() as client:
        job = client.cancel_job(job_id)
        if as_json:
            print_json(job)
        else:
            describe(client, job, people())
