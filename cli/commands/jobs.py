"""`vitrine jobs`: list, watch and control jobs."""

from __future__ import annotations

from collections.abc import Callable

import click
from rich.text import Text

from cli.client import VitrineClient
from cli.commands.import_ import describe, exit_code, follow
from cli.connection import connect
from cli.output import (
    ExitCode,
    Reporter,
    csv_option,
    job_pace,
    json_option,
    plain_table,
    print_json,
    print_pieces,
    reporter_for,
    require_one_form,
    stage_shares,
    stderr_console,
    stdout_console,
    wait_option,
)
from shared.contracts import JobOut
from shared.errors import VitrineError


@click.group(epilog="Example: vitrine jobs watch JOB")
def jobs() -> None:
    """List, watch, pause, resume, cancel and retry jobs."""


@jobs.command(name="list", epilog="Example: vitrine jobs list --catalogue shop")
@click.option("--catalogue", help="Only jobs of this catalogue.")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="Maximum number of jobs."
)
@json_option
def list_(catalogue: str | None, limit: int, as_json: bool) -> None:
    """List the newest jobs, newest first."""
    with connect() as client:
        found = client.jobs(catalogue, limit)
    if as_json:
        print_json(found)
        return
    table = plain_table("job", "kind", "catalogue", "state", "done", "failed", "started")
    for job in found:
        done = f"{job.done} of {'?' if job.total is None else job.total}"
        when = f"{job.created_at:%Y-%m-%d %H:%M}"
        table.add_row(job.id, job.kind, job.catalogue, job.state, done, str(job.counts.failed), when)
    stdout_console().print(table)


@jobs.command(epilog="Example: vitrine jobs show JOB --wait")
@click.argument("job_id", metavar="JOB")
@click.option("--wait", is_flag=True, help="Follow the job until it ends.")
@json_option
def show(job_id: str, wait: bool, as_json: bool) -> int:
    """Show a job with its counts and first failures."""
    console = stderr_console()
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


@jobs.command(epilog="Example: vitrine jobs watch JOB")
@click.argument("job_id", metavar="JOB")
@json_option
def watch(job_id: str, as_json: bool) -> int:
    """Show the live progress of a job until it ends: rate, time left, and shares of the stages."""
    console = stderr_console()
    with connect() as client:
        job = client.job(job_id)
        with reporter_for(console) as reporter:
            job = _watch(client, job, reporter)
        if as_json:
            print_json(job)
        else:
            describe(client, job, console)
            if shares := stage_shares(job):
                console.print(Text(f"workers' time: {shares}"), soft_wrap=True)
    return exit_code(job)


def _watch(client: VitrineClient, job: JobOut, reporter: Reporter) -> JobOut:
    """Follow the event stream of a job; poll if there is no stream or it ends early."""
    try:
        for update in client.job_events(job.id):
            job = update
            reporter.step(job.kind, job.done, job.total, "products", job_pace(job) or job.phase)
    except VitrineError:
        pass  # too many event streams, or the server restarts: poll instead
    return follow(client, job, reporter, lambda: False)


@jobs.command(epilog="Example: vitrine jobs failures JOB --reason missing_image --csv > failures.csv")
@click.argument("job_id", metavar="JOB")
@click.option("--reason", metavar="CODE", help="Only failures with this reason code.")
@csv_option
@json_option
def failures(job_id: str, reason: str | None, as_csv: bool, as_json: bool) -> None:
    """List the failures of a job by row."""
    require_one_form(as_csv, as_json)
    with connect() as client:
        if as_csv:
            print_pieces(client.failures_csv(job_id, reason))
            return
        found = client.failures(job_id, reason)
        if as_json:
            print_json(list(found))
            return
        console = stdout_console()
        for f in found:
            what = " ".join(part for part in (f.product_id, f.image) if part)
            console.print(Text(f"row {f.row} {what}: {f.reason}: {f.message}"), soft_wrap=True)
        reasons = client.failure_reasons(job_id)
    stderr_console().print(
        Text(", ".join(f"{code}: {count}" for code, count in reasons.items())), soft_wrap=True
    )


@jobs.command(epilog="Example: vitrine jobs pause JOB")
@click.argument("job_id", metavar="JOB")
@json_option
def pause(job_id: str, as_json: bool) -> None:
    """Pause a job after the current micro-batch; completed work is kept."""
    _act(lambda client: client.pause_job(job_id), as_json)


@jobs.command(epilog="Example: vitrine jobs resume JOB")
@click.argument("job_id", metavar="JOB")
@json_option
def resume(job_id: str, as_json: bool) -> None:
    """Resume a paused job."""
    _act(lambda client: client.resume_job(job_id), as_json)


@jobs.command(epilog="Example: vitrine jobs cancel JOB")
@click.argument("job_id", metavar="JOB")
@json_option
def cancel(job_id: str, as_json: bool) -> None:
    """Cancel a job after the current micro-batch; completed work is kept."""
    _act(lambda client: client.cancel_job(job_id), as_json)


@jobs.command(epilog="Example: vitrine jobs retry JOB --reason missing_image")
@click.argument("job_id", metavar="JOB")
@click.option("--reason", metavar="CODE", help="Only failures with this reason code.")
@wait_option(False)
@json_option
def retry(job_id: str, reason: str | None, wait: bool, as_json: bool) -> int:
    """Retry the failures and unprocessed products of an ended job in a new job."""
    console = stderr_console()
    with connect() as client:
        job = client.retry_job(job_id, reason)
        if wait:
            with reporter_for(console) as reporter:
                job = follow(client, job, reporter, lambda: False)
        if as_json:
            print_json(job)
        elif wait:
            describe(client, job, console)
        else:
            text = f"Job {job.id} does {'?' if job.total is None else job.total} products again: "
            console.print(Text(f"{text}vitrine jobs watch {job.id}"), soft_wrap=True)
    return exit_code(job) if wait else ExitCode.OK


def _act(call: Callable[[VitrineClient], JobOut], as_json: bool) -> None:
    with connect() as client:
        job = call(client)
        if as_json:
            print_json(job)
        else:
            describe(client, job, stderr_console())
