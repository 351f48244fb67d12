"""Run ``pip install`` as one line of progress: ``python bin/install.py NAME PIP_ARGUMENT...``.

pip's own output, hundreds of lines, is shown only if it fails. This needs nothing but the standard library,
because it runs in a virtual environment that has no package yet.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

_STARTED = re.compile(r"(?:Collecting|Requirement already satisfied:) ")
_PINNED = re.compile(r"^[A-Za-z0-9._-]+(?:\[[^]]*\])?==", re.MULTILINE)
_REDRAW_INTERVAL_S = 0.1


def count_pins(arguments: list[str]) -> int:
    """Return how many packages the requirement files of pip's arguments pin."""
    files = [Path(value) for name, value in pairwise(arguments) if name == "--requirement"]
    return sum(len(_PINNED.findall(path.read_text(encoding="utf-8"))) for path in files if path.exists())


class Progress:
    """A line that is redrawn on a terminal, and printed once elsewhere."""

    def __init__(self, name: str, total: int) -> None:
        self.name, self.total = name, total
        self.packages = 0
        self._is_terminal = sys.stdout.isatty()
        self._started = time.monotonic()
        self._drawn = 0.0
        print(f"== installing {name}", end="", flush=True)

    def show(self, line: str) -> None:
        """Count the packages that pip has begun, and redraw the line."""
        self.packages += _STARTED.match(line) is not None
        now = time.monotonic()
        if self._is_terminal and now - self._drawn > _REDRAW_INTERVAL_S:
            self._drawn = now
            phase = ", unpacking" if line.startswith("Installing collected packages") else ""
            of_total = f" of {self.total}" if self.total >= self.packages else ""
            print(
                f"\r== installing {self.name}: {self.packages}{of_total} packages{phase}\x1b[K",
                end="",
                flush=True,
            )

    def end(self, outcome: str) -> None:
        start = f"\r\x1b[K== installing {self.name}" if self._is_terminal else ""
        print(f"{start}: {outcome} after {time.monotonic() - self._started:.0f} s", flush=True)


def main(arguments: list[str]) -> int:
    """Install, and return pip's exit status."""
    if len(arguments) < 2:
        print(__doc__.splitlines()[0], file=sys.stderr)
        return 2
    name, *given = arguments
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", *given]
    progress = Progress(name, count_pins(given))
    output: list[str] = []
    signal.signal(signal.SIGTERM, _interrupt)
    with subprocess.Popen(
        command,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},  # progress line by line, also into a pipe
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as pip:
        assert pip.stdout is not None
        try:
            for line in pip.stdout:
                output.append(line)
                progress.show(line)
        except KeyboardInterrupt:
            pip.terminate()
            progress.end("stopped")
            return 130
    if pip.returncode:
        progress.end("failed")
        print("".join(output), end="", file=sys.stderr)
    else:
        progress.end(f"{progress.packages} packages")
    return pip.returncode


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
