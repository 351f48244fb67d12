"""Print the output of commands: JSON and tables to standard output, messages to standard error."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from functools import partial
from types import TracebackType
from typing import Any, Protocol, TypeVar

import click
from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Column, Table
from rich.text import Text

from shared.contracts import ErrorAnswer, ErrorBody, JobOut
from shared.errors import VitrineError

_LINE_INTERVAL_S = 10.0
Command = TypeVar("Command", bound=Callable[..., Any])


class ExitCode(IntEnum):
    """Exit codes, as documented in docs/cli.md."""

    OK = 0
    ERROR = 1
    USAGE = 2
    PARTIAL = 3
    UNREACHABLE = 4
    INTERRUPTED = 130


def stderr_console() -> Console:
    """Return the console on standard error."""
    return Console(stderr=True, highlight=False)


def stdout_console() -> Console:
    """Return the console on standard output; in a pipe it is wide enough not to break ids."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=200)


def json_option(command: Command) -> Command:
    """Add ``--json`` to a command."""
    text = "Print one JSON document on standard output and nothing else."
    return click.option("--json", "as_json", is_flag=True, help=text)(command)


def csv_option(command: Command) -> Command:
    """Add ``--csv`` to a command that also has ``--json``; ``require_one_form`` rejects both."""
    text = "Print a CSV file that is safe in a spreadsheet."
    return click.option("--csv", "as_csv", is_flag=True, help=text)(command)


def require_one_form(as_csv: bool, as_json: bool) -> None:
    """Raise UsageError if both formats are requested."""
    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other: choose one.")


def wait_option(waits: bool) -> Callable[[Command], Command]:
    """Return a decorator that adds ``--wait/--no-wait`` to a command; ``waits`` is the default."""
    text = "Follow the job until it ends (the default), or only start it."
    if not waits:
        text = "Follow the job until it ends, or only start it (the default)."
    return click.option("--wait/--no-wait", default=waits, help=text)


def print_json(document: BaseModel | dict[str, Any] | Sequence[Any]) -> None:
    """Print a document, a model or a list of models as JSON on standard output."""
    if isinstance(document, BaseModel):
        document = document.model_dump(mode="json")
    elif isinstance(document, Sequence):
        document = [
            each.model_dump(mode="json") if isinstance(each, BaseModel) else each for each in document
        ]
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def print_pieces(pieces: Iterable[bytes]) -> None:
    """Print the chunks of a file on standard output."""
    for piece in pieces:
        click.echo(piece, nl=False)


def plain_table(*columns: str) -> Table:
    """Return an empty table without borders."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column)
    return table


def fail(error: VitrineError, as_json: bool) -> ExitCode:
    """Print an error, and return its exit code."""
    if as_json:
        body = ErrorBody(code=error.code, message=error.message, field=error.field)
        print_json(ErrorAnswer(error=body))
    else:
        stderr_console().print(Text.assemble(("Error: ", "bold red"), error.message), soft_wrap=True)
    return ExitCode.UNREACHABLE if error.retryable else ExitCode.ERROR


def duration(seconds: float) -> str:
    """Format seconds: ``45 s``, ``3 min 05 s``, ``2 h 10 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


class Reporter(Protocol):
    """Shows progress. A context manager."""

    def __enter__(self) -> Reporter: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def step(self, what: str, done: int, total: int | None, unit: str, note: str = "") -> None:
        """Show the progress of a step; ``note`` replaces the computed rate and time left."""
        ...


class BarReporter:
    """Shows a progress bar with rate and time left, for terminals."""

    def __init__(self, console: Console) -> None:
        # On a narrow terminal the bar gives way and the note goes on in the next line; labels and counts are
        # whole.
        whole = partial(Column, no_wrap=True)
        self._progress = Progress(
            TextColumn("{task.description:<10}", table_column=whole()),
            BarColumn(bar_width=min(max(console.width - 90, 8), 32)),
            MofNCompleteColumn(table_column=whole()),
            TextColumn("{task.fields[note]}", table_column=Column(overflow="fold")),
            console=console,
        )
        self._bars: dict[str, TaskID] = {}
        self._began: dict[str, float] = {}

    def __enter__(self) -> BarReporter:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def step(self, what: str, done: int, total: int | None, unit: str, note: str = "") -> None:
        began = self._began.setdefault(what, time.monotonic())
        if what not in self._bars:
            self._bars[what] = self._progress.add_task(what, total=None, note="")
        text = note or pace(done, total, time.monotonic() - began, unit)
        self._progress.update(self._bars[what], completed=done, total=total, note=text)


class LineReporter:
    """Prints a line per step at most every ten seconds, for logs."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._printed_at: dict[str, float] = {}
        self._began: dict[str, float] = {}

    def __enter__(self) -> LineReporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def step(self, what: str, done: int, total: int | None, unit: str, note: str = "") -> None:
        now = time.monotonic()
        began = self._began.setdefault(what, now)
        is_last = total is not None and done >= total
        if not is_last and now - self._printed_at.get(what, began) < _LINE_INTERVAL_S:
            return
        if is_last and self._printed_at.get(what) == float("inf"):
            return
        self._printed_at[what] = float("inf") if is_last else now
        of = "" if total is None else f" of {total}"
        self._say(f"{what}: {done}{of} {unit} {note or pace(done, total, now - began, unit)}".rstrip())


def reporter_for(console: Console) -> Reporter:
    """Return a progress bar for a terminal, else a line reporter."""
    if console.is_terminal:
        return BarReporter(console)
    return LineReporter(lambda text: console.print(Text(text), soft_wrap=True))


def pace(done: int, total: int | None, elapsed_s: float, unit: str) -> str:
    """Format rate and time left; empty without enough data."""
    if done == 0 or elapsed_s < 0.5:
        return ""
    rate = done / elapsed_s
    left = "" if total is None or done >= total else f", {duration((total - done) / rate)} left"
    return f"{rate:,.0f} {unit}/s{left}"


def job_pace(job: JobOut) -> str:
    """Format rate, time left and shares of the stages from the server's figures."""
    if job.state == "paused":
        return f"paused: vitrine jobs resume {job.id}"
    if job.rate_per_s is None:
        return ""
    parts = [f"{job.rate_per_s:,.1f} products/s{_time_left(job)}"]
    if shares := stage_shares(job):
        parts.append(shares)
    return "; ".join(parts)


def _time_left(job: JobOut) -> str:
    if job.eta_low_s is None or job.eta_high_s is None or job.finished_at is not None:
        return ""
    low, high = duration(job.eta_low_s), duration(job.eta_high_s)
    return f", {low} left" if low == high else f", {low} to {high} left"


def stage_shares(job: JobOut) -> str:
    """Format the share of each stage in the workers' time; empty without data."""
    seconds = job.stages_s.model_dump()
    total = sum(seconds.values())
    if total <= 0:
        return ""
    return ", ".join(f"{stage} {100 * s / total:.0f} %" for stage, s in seconds.items())
