"""`vitrine import`: pack and upload products, and follow the job."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from cli.client import VitrineClient
from cli.connection import connect
from cli.output import (
    ExitCode,
    Reporter,
    duration,
    job_pace,
    json_option,
    print_json,
    reporter_for,
    stderr_console,
    wait_option,
)
from cli.pack import find_manifest_file, packed_import
from cli.reports import needs_attention, report_lines
from shared.contracts import ENDED_STATES, ImportOptions, JobOut
from shared.errors import Unavailable
from shared.imports.mapping import check_fields
from shared.imports.tables import Reading

_POLL_S = 0.5
#: How long a restarting server is waited for.
_MAX_UNAVAILABLE_S = 120.0
_MAX_SHOWN_FAILURES = 5


@click.command(
    name="import",
    epilog="Example: vitrine import ./products.csv --catalogue shop --sync --dry-run\n\n"
    "See docs/import.md for the formats, and docs/catalogue.md for the modes.",
)
@click.argument("source")
@click.option("--catalogue", required=True, help="Catalogue to import into; created if it does not exist.")
@click.option("--sync", is_flag=True, help="Delete all products that SOURCE does not contain.")
@click.option("--metadata-only", is_flag=True, help="Update data only; products keep their pictures.")
@click.option("--dry-run", is_flag=True, help="Change nothing; report what the import would do.")
@click.option("--repair", is_flag=True, help="Repair differences of the index after the import.")
@click.option(
    "--max-delete-share",
    type=click.FloatRange(0, 1),
    default=ImportOptions().max_delete_share,
    show_default=True,
    help="Maximum share of products that --sync may delete; above it, the import is refused.",
)
@click.option(
    "--map",
    "mapping",
    multiple=True,
    metavar="FIELD=COLUMN",
    help="Column that means a field, such as title=name; may be repeated, and is kept for later imports.",
)
@wait_option(True)
@json_option
def import_(
    source: str,
    catalogue: str,
    sync: bool,
    metadata_only: bool,
    dry_run: bool,
    repair: bool,
    max_delete_share: float,
    mapping: tuple[str, ...],
    wait: bool,
    as_json: bool,
) -> int:
    """Import products from SOURCE.

    SOURCE is a folder of images, a manifest or feed (CSV, JSON, XML, Excel, Parquet), an archive
    (.zip, .tar, .tar.gz, .tar.zst), or an address that the server reads (s3://bucket/prefix,
    https://shop.example/products.csv).
    """
    if sync and metadata_only:
        raise click.UsageError("--sync deletes products, --metadata-only updates data only: choose one.")
    options = ImportOptions(
        mode="sync" if sync else "metadata_only" if metadata_only else "upsert",
        dry_run=dry_run,
        repair=repair,
        max_delete_share=max_delete_share,
        mapping=parse_mapping(mapping),
    )
    console = stderr_console()
    with connect() as client:
        client.health()  # fail before packing if the server cannot be reached
        with reporter_for(console) as reporter:
            job = start(client, source, catalogue, reporter, options)
            if wait:
                job = follow(client, job, reporter, lambda: False)
        if as_json:
            print_json(job)
        elif wait:
            describe(client, job, console)
        else:
            console.print(f"Job {job.id} has started: vitrine jobs show {job.id}", soft_wrap=True)
    return exit_code(job)


def start(
    client: VitrineClient, source: str, catalogue: str, reporter: Reporter, options: ImportOptions
) -> JobOut:
    """Start the import of a local path, or of an address that the server reads."""
    if source.startswith(("s3://", "http://", "https://")):
        return client.import_on_server(source, catalogue, options)
    return send(client, Path(source), catalogue, reporter, options)


def send(
    client: VitrineClient,
    path: Path,
    catalogue: str,
    reporter: Reporter,
    options: ImportOptions | None = None,
) -> JobOut:
    """Pack and upload ``path``; return its import job."""
    options = options or ImportOptions()
    kept = client.import_mapping(catalogue) if options.mapping is None else options.mapping
    with _to_send(path, options, Reading(kept, checks_prices=False), reporter) as archive:
        total_bytes = archive.stat().st_size
        mebibytes = -(-total_bytes // 2**20)
        return client.start_import(
            archive,
            catalogue,
            lambda sent: reporter.step("sending", -(-sent // 2**20), mebibytes, "MiB"),
            options,
        )


def parse_mapping(pairs: Sequence[str]) -> dict[str, list[str]] | None:
    """Return the columns of each field of ``FIELD=COLUMN`` options; None without any.

    Raises:
        click.UsageError, InvalidInput: one is no such pair, or names no field.
    """
    mapping: dict[str, list[str]] = {}
    for pair in pairs:
        field, equals, column = pair.partition("=")
        if not equals or not field.strip() or not column.strip():
            raise click.UsageError(f"--map {pair}: write FIELD=COLUMN, such as --map title=name.")
        mapping.setdefault(field.strip(), []).append(column.strip())
    check_fields(mapping)
    return mapping or None


def _to_send(
    path: Path, options: ImportOptions, reading: Reading, reporter: Reporter
) -> AbstractContextManager[Path]:
    if options.mode == "metadata_only":
        return nullcontext(find_manifest_file(path, reading))
    return packed_import(path, lambda done, total: reporter.step("packing", done, total, "files"), reading)


def follow(client: VitrineClient, job: JobOut, reporter: Reporter, should_stop: Callable[[], bool]) -> JobOut:
    """Poll a job until it ends, also through a restart of the server; return its last state.

    Args:
        should_stop: called before each poll; True stops polling, not the job.

    Raises:
        Unavailable: the server was unavailable for too long.
    """
    answered_at = time.monotonic()
    while job.state not in ENDED_STATES and not should_stop():
        time.sleep(_POLL_S)
        try:
            job = client.job(job.id)
        except Unavailable:
            if time.monotonic() - answered_at > _MAX_UNAVAILABLE_S:
                raise
            continue
        answered_at = time.monotonic()
        reporter.step(job.kind, job.done, job.total, "products", job_pace(job))
    return job


def describe(client: VitrineClient, job: JobOut, console: Console) -> None:
    """Print the outcome of a job, and the first failures of each reason."""
    counts = job.counts
    took = (
        duration((job.finished_at - job.started_at).total_seconds())
        if job.finished_at and job.started_at
        else "-"
    )
    if "dry_run" in (job.report or {}):
        for line in report_lines(job):
            console.print(Text(line), soft_wrap=True)
        if counts.failed or job.image_failures:
            _describe_failures(client, job, console)
        return
    console.print(
        f"{job.state}: {counts.new} new, {counts.changed} changed, {counts.unchanged} unchanged, "
        f"{counts.deleted} deleted, {counts.failed} failed; {job.images} images in {took}",
        soft_wrap=True,
    )
    if job.waits_for is not None:
        console.print(Text(job.waits_for), soft_wrap=True)
    if job.error is not None:
        console.print(Text(job.error.message, style="red"), soft_wrap=True)
    for line in report_lines(job):
        console.print(Text(line), soft_wrap=True)
    if counts.failed or job.image_failures:
        _describe_failures(client, job, console)


def _describe_failures(client: VitrineClient, job: JobOut, console: Console) -> None:
    for reason, count in client.failure_reasons(job.id).items():
        console.print(Text(f"{reason}: {count:,}", style="bold"))
        # There may be millions of failures: only the printed ones are fetched.
        for failure in islice(client.failures(job.id, reason, page=_MAX_SHOWN_FAILURES), _MAX_SHOWN_FAILURES):
            where = failure.product_id or "?"
            console.print(Text(f"  row {failure.row}, {where}: {failure.message}"), soft_wrap=True)
    console.print(f"All of them: vitrine jobs failures {job.id}", soft_wrap=True)


def exit_code(job: JobOut) -> ExitCode:
    """Return the exit code for the outcome of a job."""
    if job.state in ("failed", "cancelled"):
        return ExitCode.ERROR
    return ExitCode.PARTIAL if job.counts.failed or needs_attention(job) else ExitCode.OK
