"""Start, call and kill one child process of the sandbox."""

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
#: Size of the shared memory for answers: 85 megapixels.
MEMORY_BYTES: Final = 256 * 10**6
_EXIT_TIMEOUT_S: Final = 1.0
_ROOT: Final = Path(shared.__file__).parent.parent
#: Variables that a child inherits; the others may be secrets.
_INHERITED: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ")
_SET: Final = {
    # One thread, which also reduces the address space of an idle child.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    # Buffers of large pictures are returned to the system at once; those of ordinary ones are reused.
    "MALLOC_MMAP_THRESHOLD_": str(8 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(32 * 2**20),
    # The default allocator of Arrow reserves a gigabyte of address space at the start.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}


class ChildLost(Exception):
    """The child died or was killed during a request.

    Attributes:
        cpu_s: processor time of the request.
        signal: signal that ended it; 0 if its deadline passed.
    """

    def __init__(self, cpu_s: float, signal: int) -> None:
        super().__init__(cpu_s, signal)
        self.cpu_s = cpu_s
        self.signal = signal


class Child:
    """A child process; it imports its decoders while the parent continues.

    Args:
        module: module to run, with the descriptors of connection and memory, and its size, as arguments.
    """

    def __init__(self, module: str = "shared.sandbox.child", memory_bytes: int = MEMORY_BYTES) -> None:
        self._connection, inner = socket.socketpair()
        self._memory = SharedMemory(memory_bytes)
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        fds = inner.fileno(), self._memory.fd
        with inner:
            # No fork, because this process has threads, and memory that a child must not have.
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
            Unavailable: it does not start; its error is on the standard error of this process.
        """
        if self._ready:
            return
        try:
            receive_frame(self._connection, 0, time.monotonic() + _START_TIMEOUT_S)
        except (ConnectionClosed, TimeoutError) as error:
            self.kill()
            raise Unavailable("The sandbox of the decoders does not start: see the log.") from error
        self._ready = True

    def call(self, head: Head, body: bytes, budget: Budget, max_body_bytes: int) -> tuple[Head, Body]:
        """Send a request and return the answer.

        Raises:
            ChildLost: the child exceeded its budget or died for another reason.
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
        """Kill the child and release its resources."""
        if self._is_open:
            self._is_open = False
            self._process.kill()
            self._connection.close()
            self._process.wait()
            self._memory.close()

    def reap(self) -> int:
        """Return the signal that ended a child with a closed connection; kill it and return 0 if it runs."""
        # The connection closes shortly before the exit status is available.
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_EXIT_TIMEOUT_S)
        signal = max(0, -(self._process.poll() or 0))
        self.kill()
        return signal

    def _cpu_s(self) -> float:
        """Return the processor time of the child so far, 0 if the system does not provide it."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
