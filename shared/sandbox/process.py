"""One child process of the sandbox, as its parent sees it: started, asked, killed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import shared
from shared.errors import Unavailable
from shared.sandbox.budget import Budget
from shared.sandbox.protocol import Body, ConnectionClosed, Head, SharedMemory, receive_frame, send_frame

_START_TIMEOUT_S: Final = 120.0
#: Of the largest answer that does not go through the connection: 85 megapixels.
MEMORY_BYTES: Final = 256 * 10**6
_EXIT_TIMEOUT_S: Final = 1.0
_ROOT: Final = Path(shared.__file__).parent.parent
#: Of the parent's environment nothing else reaches a child: secrets are in there.
_INHERITED: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ")
_SET: Final = {
    # One thread, which also keeps the address space of an idle child small.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    # Buffers of large pictures go back to the system at once; those of ordinary ones stay for the next.
    "MALLOC_MMAP_THRESHOLD_": str(8 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(32 * 2**20),
    # Its usual allocator reserves a gigabyte of address space before it is asked for a byte.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}


class ChildLost(Exception):
    """The child died or was killed in the middle of a request.

    Attributes:
        cpu_s: processor time that it took for the request.
        signal: that ended it; 0 when its deadline passed.
    """

    def __init__(self, cpu_s: float, signal: int) -> None:
        super().__init__(cpu_s, signal)
        self.cpu_s = cpu_s
        self.signal = signal


class Child:
    """Starts a child; it imports its decoders while its parent goes on.

    Args:
        module: what it runs, with the number of its connection as the only argument.
    """

    def __init__(self, module: str = "shared.sandbox.child", memory_bytes: int = MEMORY_BYTES) -> None:
        self._connection, inner = socket.socketpair()
        self._memory = SharedMemory(memory_bytes)
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        fds = inner.fileno(), self._memory.fd
        with inner:
            # Not a fork: this process has threads, and memory that no child should hold.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-s", "-m", module, *map(str, (*fds, memory_bytes))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=fds,
                cwd="/",
                env={**inherited, **_SET, "PYTHONPATH": str(_ROOT)},
            )
        self._ready, self._is_open = False, True
        self.requests = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self) -> None:
        """Wait until its decoders are loaded.

        Raises:
            Unavailable: it does not start; its own error is on this process's standard error.
        """
        if self._ready:
            return
        try:
            receive_frame(self._connection, 0, time.monotonic() + _START_TIMEOUT_S)
        except (ConnectionClosed, TimeoutError) as error:
            self.kill()
            raise Unavailable("The sandbox of the decoders does not start: the log says why.") from error
        self._ready = True

    def call(self, head: Head, body: bytes, budget: Budget, max_body_bytes: int) -> tuple[Head, Body]:
        """Send a request and return the answer.

        Raises:
            ChildLost: over its budget, or dead for another reason; it is no longer there.
            Unavailable: it does not start.
        """
        self.wait_ready()
        self.requests += 1
        before_s, until = self._cpu_s(), time.monotonic() + budget.wall_s
        head = {**head, "memory_bytes": budget.memory_bytes, "cpu_s": budget.cpu_s}
        try:
            self._connection.settimeout(budget.wall_s)
            send_frame(self._connection, head, body)
            return self.receive(max_body_bytes, until)
        except TimeoutError as error:
            spent_s = self._cpu_s() - before_s
            self.kill()
            raise ChildLost(spent_s, 0) from error
        except (ConnectionClosed, ValueError) as error:
            spent_s = self._cpu_s() - before_s
            raise ChildLost(spent_s, self.reap()) from error

    def receive(self, max_body_bytes: int, until: float) -> tuple[Head, Body]:
        return receive_frame(self._connection, max_body_bytes, until, self._memory)

    def send(self, head: Head, body: bytes = b"") -> None:
        send_frame(self._connection, head, body)

    def kill(self) -> None:
        """End it now."""
        if self._is_open:
            self._is_open = False
            self._process.kill()
            self._connection.close()
            self._process.wait()
            self._memory.close()

    def reap(self) -> int:
        """Return the signal that ended a child whose connection closed; 0 if it went on, and is killed."""
        # The connection closes a moment before the kernel has the exit status.
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_EXIT_TIMEOUT_S)
        signal = max(0, -(self._process.poll() or 0))
        self.kill()
        return signal

    def _cpu_s(self) -> float:
        """Processor time of the child so far, 0 where the system does not tell."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
