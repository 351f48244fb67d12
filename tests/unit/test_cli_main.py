"""The command line as a whole: help, usage errors, exit codes, what goes where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import click
import pytest
from rich.console import Console

from cli.main import app
from cli.models_in_use import models_in_use
from cli.output import BarReporter, LineReporter, duration, pace
from cli.services.sockets import find_free_ports

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def vitrine(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *words],
        cwd=ROOT,
        env={**os.environ, "VITRINE_URL": f"http://127.0.0.1:{find_free_ports(1)[0]}", **more},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def every_command(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Yield each command and group below one, with the words that call it."""
    for name in group.list_commands(click.Context(group)):
        found = group.get_command(click.Context(group), name)
        assert found is not None, name
        yield " ".join((*words, name)), found
        if isinstance(found, click.Group):
            yield from every_command(found, (*words, name))


def test_every_command_has_help_with_an_example_and_json() -> None:
    shown = dict(every_command(app))
    assert {"up", "jobs retry", "train detector", "webhooks test", "evaluate"} <= shown.keys()
    for words, command in shown.items():
        text = command.get_help(click.Context(command, info_name=f"vitrine {words}"))
        assert f"Example: vitrine {words}" in text, words
        assert isinstance(command, click.Group) or "--json" in text, words


def test_help_is_shown_where_nothing_runs() -> None:
    shown = vitrine("jobs", "retry", "--help")
    assert shown.returncode == 0
    assert "Example: vitrine jobs retry JOB" in shown.stdout


def test_help_lists_commands_without_loading_them() -> None:
    code = (
        "import sys; sys.argv = ['vitrine', '--help']\n"
        "from cli import main\n"
        "try: main.main()\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'pymilvus', 'celery', 'sqlalchemy', 'httpx'} & set(sys.modules)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=600, check=True
    )
    for name in ("up", "down", "status", "import", "search", "jobs"):
        assert f"  {name} " in shown.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["fly"],
        ["import", "somewhere"],
        ["search", "--catalogue", "demo"],
        ["search", "no-such-file.jpg"],
        ["search", "README.md", "--top-k", "0"],
        ["search", "pyproject.toml", "--box", "0.5", "0.5", "0.5", "0.5"],
        ["up", "--json"],
    ],
)
def test_wrong_usage_is_exit_code_2(words: list[str]) -> None:
    answer = vitrine(*words)
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert "Traceback" not in answer.stderr


def test_unreachable_is_exit_code_4_and_says_how_to_start() -> None:
    answer = vitrine("jobs", "list")
    assert answer.returncode == 4
    assert "vitrine up" in answer.stderr
    as_json = vitrine("import", "demo", "--catalogue", "x", "--json")
    assert as_json.returncode == 4
    assert json.loads(as_json.stdout)["error"]["code"] == "unavailable"


def test_wrong_setting_names_the_variable() -> None:
    answer = vitrine("up", "--no-demo", VITRINE_WEB__PORT="many")
    assert answer.returncode == 1
    assert "VITRINE_WEB__PORT" in answer.stderr
    assert "many" not in answer.stderr
    assert "Traceback" not in answer.stderr


def test_times_and_rates_are_said_as_people_do() -> None:
    assert [duration(s) for s in (0.2, 59, 61, 3600, 7805)] == [
        "0 s",
        "59 s",
        "1 min 01 s",
        "1 h 00 min",
        "2 h 10 min",
    ]
    assert pace(0, 100, 5.0, "files") == ""
    assert pace(50, 100, 5.0, "files") == "10 files/s, 5 s left"
    assert pace(100, 100, 5.0, "files") == "20 files/s"


def test_log_lines_come_now_and_then_and_at_the_end_once() -> None:
    said: list[str] = []
    with LineReporter(said.append) as reporter:
        for done in range(101):
            reporter.step("packing", done, 100, "files")
        reporter.step("packing", 100, 100, "files")
    assert len(said) == 1
    assert said[0].startswith("packing: 100 of 100 files")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_bar_cuts_neither_its_label_nor_its_note(width: int) -> None:
    note = "37.5 products/s, 18 s to 25 s left; decode 20 %, detect 30 %, embed 40 %, write 10 %"
    screen = StringIO()
    console = Console(file=screen, force_terminal=True, width=width, color_system=None)
    with BarReporter(console) as reporter:
        reporter.step("importing the demo", 600, 1286, "products", note)
    shown = " ".join(screen.getvalue().split("\x1b[2K")[-1].replace("\x1b[?25h", "").split())
    assert "importing the demo" in shown
    assert "600/1286" in shown
    assert shown.endswith(note.split("; ")[1])


def test_models_are_those_of_the_newest_search_worker() -> None:
    def worker(role: str, started_at: float, **details: object) -> dict[str, object]:
        return {"role": role, "started_at": started_at, "details": details}

    found = models_in_use(
        [
            worker("search", 1.0, detector="old", embedder="old"),
            worker("search", 2.0, detector="new", embedder="new", runtime="openvino", device="cpu"),
            worker("catalogue", 3.0, detector="other", embedder="other"),
        ]
    )
    assert (found.detector, found.embedder, found.notes) == ("new", "new", [])
    without = models_in_use([worker("search", 1.0, detector="none", embedder="e")])
    assert any("whole images are searched" in note for note in without.notes)
    assert models_in_use([]).embedder is None
