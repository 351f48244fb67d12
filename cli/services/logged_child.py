"""Run a child process whose output is written to a log file and passed to a listener."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from cli.services.child import Child

_TAIL_LINES = 20
_MAX_LOG_BYTES = 20_000_000
_MAX_LINE_BYTES = 16_384

Listener = Callable[[str, str], None]


class LoggedChild:
    """A ``Child`` whose output is logged.

    Args:
        name: name in logs and messages.
        argv: program and arguments, without secrets.
        env: the whole environment.
        log_path: log file, rotated to ``.1`` at 20 MB.
        listener: called with name and line from a separate thread.
        nice: niceness of the child and its children; higher values have lower priority.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        log_path: Path,
        listener: Listener,
        nice: int = 0,
    ) -> None:
        self.name = name
        self.log_path = log_path
        self._child = Child(name, argv, env)
        self._listener = listener
        self._nice = nice
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)

    @property
    def pid(self) -> int | None:
        return self._child.pid

    def start(self) -> None:
        """Start the child, also after it has ended; see ``Child.start`` for the thread."""
        self._child.start()
        if self._nice and self._child.pid is not None:
            os.setpriority(os.PRIO_PROCESS, self._child.pid, self._nice)
        output = self._child.stdout
        assert output is not None
        threading.Thread(target=self._pump, args=(output,), name=f"log-{self.name}", daemon=True).start()

    def poll(self) -> int | None:
        return self._child.poll()

    def kill(self) -> None:
        self._child.kill()

    def tail(self) -> list[str]:
        """Return the last lines of the output."""
        return list(self._tail)

    def _pump(self, output: IO[bytes]) -> None:
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        log: IO[bytes] = self.log_path.open("ab")
        try:
            while line := output.readline(_MAX_LINE_BYTES):
                log = self._write(log, line)
                text = line.decode("utf-8", errors="replace").rstrip()
                self._tail.append(text)
                self._listener(self.name, text)
        finally:
            log.close()
            output.close()

    def _write(self, log: IO[bytes], line: bytes) -> IO[bytes]:
        """Write a line, and return the file for the next one; a full disk must not stop the service."""
        try:
            log.write(line)
            log.flush()
            if log.tell() > _MAX_LOG_BYTES:
                log.close()
                self.log_path.replace(self.log_path.with_name(self.log_path.name + ".1"))
                log = self.log_path.open("ab")
        except OSError:
            pass
        return log
