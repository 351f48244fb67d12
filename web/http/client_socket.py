"""A client's socket whose reads and writes never block a request thread for long.

Each client has a waiting-time budget: waiting spends it, and each received byte earns some back. A client on
a slow line that sends steadily never exhausts it; a client that sends one byte a second does.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

#: Budget at the start of a body; also its maximum, which a fast client can spend on a pause.
MAX_WAIT_S = 10.0
#: Steady senders above this rate are never cut off.
MIN_BYTES_PER_S = 8_000
#: Maximum duration of one write, for a client that does not read its answer.
MAX_BLOCK_S = 10.0
#: A client that reads steadily above the minimum rate then gets the longest answer in full.
_SEND_PIECE_BYTES = int(MAX_BLOCK_S * MIN_BYTES_PER_S)
#: The kernel can then buffer most answers in full, so a slow reader holds no thread.
_SEND_BUFFER_BYTES = 2**20


class SlowClient(TimeoutError):
    """The client sent its body or read its answer too slowly; the application answers 408."""

    def __init__(self) -> None:
        # With this errno gunicorn treats the client as disconnected and logs no traceback.
        super().__init__(errno.ECONNRESET, "the client is too slow")


class ClientSocket(socket.socket):
    """A socket with a waiting-time budget (see the module docstring).

    Attributes:
        budget_s: remaining seconds that the client may keep the server waiting.
        missing_bytes: of the current body; None while the length is unknown.
        on_complete: called once, in the reading thread, when the current body has arrived in full.
        lingers: the server reads the rest of a refused body after the answer.
    """

    lingers = True

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        # Some systems refuse options on a connection that the client has already reset.
        with suppress(OSError):
            self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self.budget_s = MAX_WAIT_S
        self.missing_bytes: int | None = None
        self.on_complete: Callable[[], None] | None = None

    @classmethod
    def adopt(cls, accepted: socket.socket) -> ClientSocket:
        """Take over the descriptor of an accepted connection."""
        return cls(accepted.family, accepted.type, accepted.proto, accepted.detach())

    def setblocking(self, flag: bool) -> None:
        """Set blocking mode with a time limit; gunicorn calls this before it reads and writes."""
        self.settimeout(MAX_BLOCK_S if flag else 0.0)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Receive as ``socket.recv`` within the budget.

        Raises:
            SlowClient: the budget is exhausted.
        """
        limit_s = self.gettimeout()
        if limit_s == 0.0:
            return super().recv(size, flags)
        wait_s = self.budget_s if limit_s is None else min(limit_s, self.budget_s)
        if wait_s <= 0:
            raise SlowClient
        began = time.monotonic()
        self.settimeout(wait_s)
        try:
            piece = super().recv(size, flags)
        except TimeoutError as error:
            self.spend(time.monotonic() - began)
            if wait_s < (limit_s or MAX_BLOCK_S):
                self.budget_s = 0.0
            raise SlowClient from error
        finally:
            self.settimeout(limit_s)
        self.spend(time.monotonic() - began)
        self.earn(len(piece))
        self._count_down(len(piece))
        return piece

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send as ``socket.sendall``, with a time limit for each piece of the data.

        Raises:
            SlowClient: the client does not read the data.
        """
        view = memoryview(data).cast("B")
        try:
            for begin in range(0, len(view), _SEND_PIECE_BYTES):
                super().sendall(view[begin : begin + _SEND_PIECE_BYTES], flags)
        except TimeoutError as error:
            raise SlowClient from error

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send as ``socket.sendfile``; raise SlowClient if the client does not read the data."""
        try:
            return super().sendfile(file, offset, count)
        except TimeoutError as error:
            raise SlowClient from error

    def spend(self, seconds: float) -> None:
        """Subtract waiting time from the budget."""
        self.budget_s = max(0.0, self.budget_s - seconds)

    def earn(self, received: int) -> None:
        """Add to the budget for received bytes."""
        self.budget_s = min(MAX_WAIT_S, self.budget_s + received / MIN_BYTES_PER_S)

    def _count_down(self, received: int) -> None:
        if self.missing_bytes is not None:
            self.missing_bytes -= received
            if self.missing_bytes <= 0 and self.on_complete is not None:
                done, self.on_complete = self.on_complete, None
                done()

    def begin_body(self, missing_bytes: int | None) -> None:
        """Reset the budget for a new body with ``missing_bytes`` still to arrive."""
        self.budget_s, self.missing_bytes, self.on_complete = MAX_WAIT_S, missing_bytes, None
