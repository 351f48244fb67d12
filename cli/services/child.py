"""One supervised child process: its own session, stopped as a group, never outliving its parent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from shared.errors import Misconfigured

_WRAPPER = Path(__file__).with_name("exec_with_parent_death.py")


class Child:
    """A program run as a child of this process.

    The child leads its own session, so Ctrl-C in the terminal reaches only the supervisor, which then
    stops the children in order. When this process dies without stopping it, the kernel sends it
    ``death_signal`` (Linux). The kernel counts the death of the *thread* that called ``start`` too:
    call it from a thread that lives as long as the child shall, such as the main one.

    Args:
        name: what logs and messages call it.
        argv: program and arguments; no secrets, every user of the machine can read them.
        env: the whole environment; None inherits this process's.
        cwd: working directory; None inherits.
        log_path: standard output and error are appended to this file. None makes them one pipe,
            ``stdout``, which the caller must keep reading.
        death_signal: what the child gets when this process dies.
        pass_fds: file descriptors that the child inherits, such as that of a lock.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        log_path: Path | None = None,
        death_signal: signal.Signals = signal.SIGTERM,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.argv = tuple(argv)
        self.env = None if env is None else dict(env)
        self.cwd = cwd
        self.log_path = log_path
        self.death_signal = death_signal
        self.pass_fds = tuple(pass_fds)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id, also that of its group; None before ``start``."""
        return None if self._process is None else self._process.pid

    @property
    def stdout(self) -> IO[bytes] | None:
        """Its output as a pipe when there is no ``log_path``."""
        return None if self._process is None else self._process.stdout

    def start(self) -> None:
        """Start it, or again if it has ended; no effect while it runs.

        Raises:
            Misconfigured: the program or the directory of the log does not exist.
        """
        if self._process is not None and self.poll() is None:
            return
        wrapped = [sys.executable, "-IS", str(_WRAPPER), str(os.getpid()), str(int(self.death_signal))]
        try:
            if self.log_path is None:
                self._process = self._spawn(wrapped, subprocess.PIPE)
            else:
                with self.log_path.open("ab") as log:
                    self._process = self._spawn(wrapped, log)
        except OSError as error:
            raise Misconfigured(f"{self.name} cannot be started: {error}") from error

    def _spawn(self, wrapped: list[str], output: int | IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*wrapped, *self.argv],
            env=self.env,
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=self.pass_fds,
        )

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal, or None while it runs or was never started."""
        return self.wait(0.0)

    def wait(self, timeout_s: float) -> int | None:
        """Wait for its end; return the exit code, or None if it still runs after ``timeout_s``."""
        if self._process is None:
            return None
        if self._process.returncode is None:
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                return None
            # Once, and now: later the number of the group may belong to somebody else.
            _kill_group(self._process.pid)
        return self._process.returncode

    def stop(self, grace_s: float = 10.0, term: signal.Signals = signal.SIGTERM) -> int | None:
        """Ask it to end, and after ``grace_s`` kill its whole group; return the exit code.

        ``term`` goes to the leader alone: servers with workers of their own (gunicorn, Celery) want to
        end those in order. Whoever is left of the group when the leader ends is killed.
        """
        if self._process is None:
            return None
        if self.poll() is None:
            self._process.send_signal(term)
            if self.wait(grace_s) is None:
                self.kill()
        return self._process.returncode

    def kill(self) -> None:
        """Kill the group at once and reap the leader."""
        if self._process is not None and self._process.returncode is None:
            _kill_group(self._process.pid)
            self._process.wait()


def _kill_group(leader: int) -> None:
    # macOS says EPERM for a group of zombies.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
