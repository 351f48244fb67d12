"""Run a child process in its own session, which is stopped as a group and dies with its parent."""

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

    The child leads its own session, so that Ctrl-C in the terminal reaches only the supervisor, which then
    stops the children in order. If this process dies without stopping it, the kernel sends it
    ``death_signal`` (Linux). The kernel does so also when the *thread* that called ``start`` ends: call it
    from a thread that lives as long as the child, such as the main thread.

    Args:
        name: name in logs and messages.
        argv: program and arguments, without secrets, because every user of the machine can read them.
        env: the whole environment; None inherits that of this process.
        cwd: working directory; None inherits.
        log_path: file to which standard output and error are appended. None connects them to the pipe
            ``stdout``, which the caller must read.
        death_signal: signal for the child when this process dies.
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
        """Id of the process and of its group; None before ``start``."""
        return None if self._process is None else self._process.pid

    @property
    def stdout(self) -> IO[bytes] | None:
        """Output of the child as a pipe, without ``log_path``."""
        return None if self._process is None else self._process.stdout

    def start(self) -> None:
        """Start the child, also after it has ended; no effect while it runs.

        Raises:
            Misconfigured: the program or the folder of the log does not exist.
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
        """Return the exit code, negative for a signal; None while the child runs or was never started."""
        return self.wait(0.0)

    def wait(self, timeout_s: float) -> int | None:
        """Wait until the child ends; return the exit code, or None after ``timeout_s``."""
        if self._process is None:
            return None
        if self._process.returncode is None:
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                return None
            # Immediately and only once: the id of the group may be reused later.
            _kill_group(self._process.pid)
        return self._process.returncode

    def stop(self, grace_s: float = 10.0) -> int | None:
        """Terminate the child, and kill its group after ``grace_s``; return the exit code.

        SIGTERM is sent to the leader only, because servers with workers (gunicorn, Celery) stop those in
        order. Remaining processes of the group are killed when the leader ends.
        """
        if self._process is None:
            return None
        if self.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            if self.wait(grace_s) is None:
                self.kill()
        return self._process.returncode

    def kill(self) -> None:
        """Kill the group immediately, and reap the leader."""
        if self._process is not None and self._process.returncode is None:
            _kill_group(self._process.pid)
            self._process.wait()


def _kill_group(leader: int) -> None:
    # macOS reports EPERM for a group of zombies.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
