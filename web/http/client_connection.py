"""The state of a client's connection and of the request that arrives on it."""

from __future__ import annotations

import re
from enum import Enum
from typing import Any

from gunicorn.http.message import Request
from gunicorn.workers.gthread import TConn

from web.http.client_socket import ClientSocket

#: Blanks around the value are stripped afterwards: with them in the pattern, a head of 32 kB took 7 s.
_LENGTHS = re.compile(rb"(?im)^content-length:(.*)$")
#: Longer numbers and other forms are left to the parser.
_NUMBER = re.compile(rb"[0-9]{1,15}")
_UNKNOWN_LENGTH = re.compile(rb"(?im)^(?:transfer-encoding|expect):")
#: Maximum unread body that gunicorn discards before it reuses the connection.
_DRAINABLE_BYTES = 65_536
_HEALTH = re.compile(rb"(?:GET|HEAD) /healthz(?:\?[^ ]*)? HTTP/1\.[01]\r\n")


class Phase(Enum):
    """What the main loop waits for on a connection."""

    IDLE = "the first byte of a request"
    HEAD = "the rest of a head"
    BODY = "the rest of a body"
    LINGER = "the client to close"


class HonestRequest(Request):  # type: ignore[misc]  # gunicorn publishes no types
    """A request that announces `Connection: close` if its connection will not be reused.

    After the answer the server discards an unread body, and closes the connection unless the body has
    arrived in full. gunicorn would answer `keep-alive`, and the client's next request would meet a closed
    connection.
    """

    must_close: bool

    def should_close(self) -> bool:
        """Return whether the connection ends with this request; a True is final."""
        if not self.must_close and self._has_unread_body():
            self.must_close = True
        return bool(super().should_close())

    def _has_unread_body(self) -> bool:
        reader = self.body.reader
        if getattr(reader, "parser", None) is not None:
            return True  # in chunks, and not read to the end
        unread = getattr(reader, "length", 0)
        return unread > 0 and (self.unreader.sock.missing_bytes != 0 or unread >= _DRAINABLE_BYTES)


class Connection(TConn):  # type: ignore[misc]  # gunicorn publishes no types
    """A connection and the bytes received so far of its next request."""

    def __init__(self, cfg: Any, sock: ClientSocket, client: Any, server: Any) -> None:
        super().__init__(cfg, sock, client, server)
        self.phase = Phase.IDLE
        self.gathered = bytearray()
        self.head_bytes = 0
        self.deadline = 0.0
        self.seen_at = 0.0
        self.holds_slot = False
        # Otherwise gunicorn waits for the first byte in a thread.
        self.data_ready = True

    def init(self) -> None:
        """Create the parser and pass it the bytes received so far."""
        super().init()
        self.parser.mesg_class = HonestRequest
        if self.gathered:
            self.parser.unreader.unread(bytes(self.gathered))
            self.gathered = bytearray()

    def is_health_check(self) -> bool:
        """Return whether the complete received request is one for `/healthz`."""
        return self.head_bytes == len(self.gathered) and _HEALTH.match(self.gathered) is not None

    def begin_body(self, head_bytes: int) -> None:
        """Record the size of the head and the announced length of the body."""
        self.phase, self.head_bytes = Phase.BODY, head_bytes
        self.sock.begin_body(body_length(bytes(self.gathered[:head_bytes])))


def body_length(head: bytes) -> int | None:
    """Return the length in bytes of the body that a head announces; None if only the parser can tell.

    A head with its length in an unusual form must not pass for one without a body: reading it would hold a
    thread that is reserved for complete requests.
    """
    lengths = [value.strip(b" \t\r") for value in _LENGTHS.findall(head)]
    if _UNKNOWN_LENGTH.search(head) is not None or len(lengths) > 1:
        return None
    if not lengths:
        return 0
    return int(lengths[0]) if _NUMBER.fullmatch(lengths[0]) else None
