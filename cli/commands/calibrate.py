"""`vitrine calibrate`: map scores of a catalogue's hits to probabilities."""

from __future__ import annotations

from pathlib import Path

import click

from cli.commands.import_ import describe, exit_code, follow
from cli.connection import connect
from cli.output import ExitCode, json_option, print_json, reporter_for, stderr_console
from shared.errors import StorageUnavailable


@click.command(
    epilog="Example: vitrine calibrate shop --report calibration.svg\n\nMethod and accuracy: docs/search.md."
)
@click.argument("catalogue")
@click.option(
    "--index", type=click.IntRange(min=1), help="Number of the index version. [default: the live one]"
)
@click.option(
    "--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the reliability diagram (SVG)."
)
@json_option
def calibrate(catalogue: str, index: int | None, report: Path | None, as_json: bool) -> int:
    """Measure the probability by score that a hit of CATALOGUE is the right product.

    Searches with photos composed of the catalogue's own pictures. Repeat it after large changes of the
    catalogue, and for each new index version.
    """
    console = stderr_console()
    with connect() as client:
        job = client.calibrate(catalogue, index)
        with reporter_for(console) as reporter:
            job = follow(client, job, reporter, lambda: False)
        if as_json:
            print_json(job)
        else:
            describe(client, job, console)
    found = (job.report or {}).get("calibrate", {})
    if report is not None and found.get("calibrated"):
        try:
            report.write_text(found["diagram"], encoding="utf-8")
        except OSError as error:
            raise StorageUnavailable(f"{report} cannot be written: {error.strerror}.") from error
    if found and not found["calibrated"]:
        return ExitCode.PARTIAL
    return exit_code(job)
