"""Print the supervisor's progress and the services' logs to a terminal, a file or a pipe."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from typing import Any, Protocol

from rich.console import Console
from rich.text import Text

from shared.process.log import encode_controls

_COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "bright_cyan", "bright_green", "bright_magenta")
_NAME_WIDTH = 11


class Narrator(Protocol):
    """Output of the supervisor. ``say`` and ``log`` are called from several threads."""

    def say(self, text: str) -> None:
        """Print a progress line."""
        ...

    def waiting_for(self, what: str, since: float | None = None) -> contextlib.AbstractContextManager[None]:
        """Show that a service is starting, and then how long it took since ``since`` (monotonic)."""
        ...

    def log(self, name: str, line: str) -> None:
        """Print a line of a service's log."""
        ...


class ConsoleNarrator:
    """Prints to a console. Service logs are hidden until ``show_logs``, so that progress stays visible."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.show_logs = False
        self._colours: dict[str, str] = {}

    def say(self, text: str) -> None:
        self._print(Text(text))

    @contextlib.contextmanager
    def waiting_for(self, what: str, since: float | None = None) -> Iterator[None]:
        started = time.monotonic() if since is None else since
        if self.console.is_terminal:
            with self.console.status(f"starting {what}..."):
                yield
        else:
            yield
        self.say(f"starting {what}... ready in {time.monotonic() - started:.1f} s")

    def log(self, name: str, line: str) -> None:
        if self.show_logs:
            colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
            text = Text(f"{name:<{_NAME_WIDTH}} | ", style=colour).append(
                Text(encode_controls(line, keep="\t"), style="default")
            )
            self._print(text)

    def _print(self, text: Text) -> None:
        # A closed output must neither stop the supervisor nor end the thread that reads a service's output,
        # because the service would block; rich raises SystemExit for it.
        with contextlib.suppress(OSError, SystemExit):
            self.console.print(text, soft_wrap=True)


class PipeNarrator:
    """Sends progress to the process that started the supervisor in the background, and to a log file.

    Each message is one JSON line: ``{"say": text}``, ``{"ready": document}`` or ``{"error": body}``.
    """

    def __init__(self, descriptor: int, console: Console) -> None:
        self._descriptor = descriptor
        self._log = ConsoleNarrator(console)

    def say(self, text: str) -> None:
        self._log.say(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}")
        self.send({"say": text})

    @contextlib.contextmanager
    def waiting_for(self, what: str, since: float | None = None) -> Iterator[None]:
        started = time.monotonic() if since is None else since
        yield
        self.say(f"starting {what}... ready in {time.monotonic() - started:.1f} s")

    def log(self, name: str, line: str) -> None:
        """Do nothing, because each service has its own log file."""

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; drop it if the pipe is closed."""
        with contextlib.suppress(OSError):
            os.write(self._descriptor, (json.dumps(message) + "\n").encode())

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
