"""Serve only complete requests in the threads of gunicorn's threaded worker.

gunicorn 27 assigns a request thread to a connection as soon as a byte arrives, and that thread waits for the
rest without a limit: eight sockets that send one header byte a second stop a server of eight threads. It also
waits in its main loop, up to two seconds each, for clients to close. Here the main loop collects the head of
a request, and up to ``GATHERED_BODY_BYTES`` of its body, without a thread and against a deadline. A longer
body is read by a thread against the budget of ``ClientSocket``; all but two threads may do so at once. At
the connection limit, the connection that has been incomplete for longest is closed. `/healthz` has its own
thread.

It overrides internals of gunicorn. The requirements pin its version, and ``gunicorn_conf`` refuses others.

Tests: tests/integration/test_slow_clients.py.
"""

from __future__ import annotations

import errno
import selectors
import socket
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

from web.http.client_connection import Connection, Phase
from web.http.client_socket import ClientSocket
from web.http.raw_answers import TOO_LONG, TOO_MANY, TOO_SLOW

#: From the first byte of a request, or the connection, to the end of its head.
HEAD_DEADLINE_S = 10.0
MAX_HEAD_BYTES = 32_768
#: Maximum body that is received without a thread; at most 50 MB for all connections together.
GATHERED_BODY_BYTES = 65_536
#: Threads reserved for complete requests.
SPARE_THREADS = 2
#: Maximum number of requests that wait for a thread; further ones are answered 503.
MAX_QUEUED = 200
#: Limits for discarding input after the last answer; without it, a client that still sends gets a reset.
LINGER_S, LINGER_BYTES = 2.0, 32_000_000
#: Time to drain an unread body before a connection is reused; a longer one closes the connection.
_DRAIN_S = 1.0
_EXPIRY_INTERVAL_S = 0.25
_PIECE_BYTES = 65_536


class BoundedWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn publishes no types
    """A gunicorn worker (see the module docstring). Only ``handle`` runs outside the main loop's thread."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        # In order of arrival; the first is closed at the connection limit.
        self.incomplete: dict[Connection, None] = {}
        self.queue: deque[Connection] = deque()
        self.free_slots = max(1, self.cfg.threads - SPARE_THREADS)
        self.handed_over = 0
        self.health_pool = ThreadPoolExecutor(1, "health")
        self._expire_at = 0.0

    # --- accepting ---------------------------------------------------------------------------

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection; close the oldest incomplete one at the connection limit."""
        try:
            accepted, address = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._evict()
                return
            if error.errno in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                return
            raise
        connection = Connection(self.cfg, ClientSocket.adopt(accepted), address, listener.getsockname())
        self.nr_conns += 1
        self._wait_for_request(connection, HEAD_DEADLINE_S)
        if self.nr_conns >= self.worker_connections:
            self._evict()

    def _evict(self) -> None:
        if self.incomplete:
            self._drop(next(iter(self.incomplete)))

    def _wait_for_request(self, connection: Connection, idle_s: float) -> None:
        connection.phase, connection.head_bytes = Phase.IDLE, 0
        connection.deadline = time.monotonic() + idle_s
        self._watch(connection)
        if connection.gathered:
            self._advance(connection, at_end=False)

    def _watch(self, connection: Connection) -> None:
        connection.sock.setblocking(False)
        self.incomplete[connection] = None
        self.poller.register(connection.sock, selectors.EVENT_READ, partial(self._receive, connection))

    def _unwatch(self, connection: Connection) -> None:
        if connection in self.incomplete:
            del self.incomplete[connection]
            self.poller.unregister(connection.sock)

    # --- receiving requests ----------------------------------------------------------------------

    def _receive(self, connection: Connection, _: object) -> None:
        if connection not in self.incomplete:
            return  # another event of the same poll closed it
        try:
            piece = connection.sock.recv(_PIECE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._drop(connection)
            return
        if connection.phase is Phase.LINGER:
            connection.head_bytes += len(piece)
            if not piece or connection.head_bytes > LINGER_BYTES:
                self._drop(connection)
            return
        connection.sock.earn(len(piece))
        connection.gathered += piece
        self._advance(connection, at_end=not piece)

    def _advance(self, connection: Connection, *, at_end: bool) -> None:
        """Process the received bytes: wait for more, or hand the request to a thread."""
        now, sock = time.monotonic(), connection.sock
        if connection.phase is Phase.IDLE:
            # Empty lines may precede a request (RFC 9112, 2.2).
            while connection.gathered[:2] == b"\r\n":
                del connection.gathered[:2]
            if not connection.gathered:
                if at_end:
                    self._drop(connection)
                return
            connection.phase, connection.deadline = Phase.HEAD, now + HEAD_DEADLINE_S
        if connection.phase is Phase.HEAD:
            end = connection.gathered.find(b"\r\n\r\n")
            if end < 0:
                if at_end:
                    self._hand_over(connection)
                elif len(connection.gathered) > MAX_HEAD_BYTES:
                    self._refuse(connection, TOO_LONG)
                return
            connection.begin_body(end + 4)
            connection.seen_at = now
        missing = sock.missing_bytes
        if at_end or missing is None or connection.head_bytes + missing <= len(connection.gathered):
            sock.missing_bytes = None if missing is None else 0
            self._hand_over(connection, needs_slot=missing is None and not at_end)
        elif len(connection.gathered) >= connection.head_bytes + GATHERED_BODY_BYTES:
            sock.missing_bytes = missing - (len(connection.gathered) - connection.head_bytes)
            self._hand_over(connection, needs_slot=True)
        else:
            sock.spend(now - connection.seen_at)
            connection.seen_at, connection.deadline = now, now + sock.budget_s

    def _hand_over(self, connection: Connection, *, needs_slot: bool = False) -> None:
        """Submit the request to a thread, or queue it for a slot if its body is long."""
        waiting = self.handed_over + len(self.queue) - self.cfg.threads
        if waiting >= MAX_QUEUED and not connection.is_health_check():
            self._refuse(connection, TOO_MANY)
            return
        self._unwatch(connection)
        connection.holds_slot = False
        if not needs_slot:
            self.enqueue_req(connection)
        else:
            self.queue.append(connection)
            self._start_queued()

    def _start_queued(self) -> None:
        while self.queue and self.free_slots > 0:
            self.free_slots -= 1
            connection = self.queue.popleft()
            connection.holds_slot = True
            # The slot covers reading only; a search that waits for its result frees it.
            connection.sock.on_complete = partial(self.method_queue.defer, self._free_slot, connection)
            self.enqueue_req(connection)

    def _free_slot(self, connection: Connection) -> None:
        if connection.holds_slot:
            connection.holds_slot = False
            self.free_slots += 1
            self._start_queued()

    def enqueue_req(self, connection: Connection) -> None:
        """Submit a request to the request threads, or to the thread of the health check."""
        self.handed_over += 1
        pool = self.health_pool if connection.is_health_check() else self.tpool
        future = pool.submit(self.handle, connection)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, connection, done))

    def _keepalive_after(self, connection: Connection, keepalive: bool) -> bool:
        deadline = time.monotonic() + _DRAIN_S
        return keepalive and bool(connection.parser.finish_body(deadline=deadline))

    # --- ending connections -----------------------------------------------------------------------------

    def finish_request(self, connection: Connection, future: Future[Any]) -> None:
        """Keep the connection for its next request or close it, after a thread has answered."""
        self.handed_over -= 1
        self._free_slot(connection)
        try:
            keep = not future.cancelled() and bool(future.result())
            if keep:
                connection.gathered = bytearray(connection.parser.unreader.take_buffered())
                self._wait_for_request(
                    connection, self.cfg.keepalive if self.alive else STOP_KEEPALIVE_LINGER
                )
            else:
                self._linger(connection)
        except Exception:
            self.log.exception("keep-alive failed")
            self._drop(connection)

    def _linger(self, connection: Connection) -> None:
        """Close the sending side, and discard what the client still sends."""
        connection.gathered, connection.head_bytes = bytearray(), 0
        connection.phase, connection.deadline = Phase.LINGER, time.monotonic() + LINGER_S
        try:
            connection.sock.shutdown(socket.SHUT_WR)
            self._watch(connection)
        except (OSError, ValueError):
            self._drop(connection)

    def _refuse(self, connection: Connection, answer: bytes) -> None:
        self._unwatch(connection)
        try:
            connection.sock.send(answer)
        except OSError:
            self._drop(connection)
        else:
            self._linger(connection)

    def _drop(self, connection: Connection) -> None:
        self._unwatch(connection)
        self.nr_conns -= 1
        connection.close()

    def murder_pending(self) -> None:
        """End connections past their deadlines; gunicorn calls this in each loop iteration."""
        now = time.monotonic()
        if now < self._expire_at:
            return
        self._expire_at = now + _EXPIRY_INTERVAL_S
        for connection in [each for each in self.incomplete if each.deadline <= now]:
            if connection.phase is Phase.BODY:
                # The application may answer without the body; if it reads the body, it answers 408.
                connection.sock.budget_s = 0.0
                self._hand_over(connection)
            elif connection.phase is Phase.HEAD:
                self._refuse(connection, TOO_SLOW)
            else:
                self._drop(connection)

    def _cap_keepalive(self, deadline: float) -> None:
        """Let idle connections end by ``deadline`` while the worker stops."""
        for connection in self.incomplete:
            if connection.phase is Phase.IDLE:
                connection.deadline = min(connection.deadline, deadline)

    def murder_keepalived(self, force: bool = False) -> None:
        """Close all waiting connections if ``force`` is set, at the end of the worker's grace period."""
        if force:
            for connection in list(self.incomplete):
                self._drop(connection)
            self.health_pool.shutdown(wait=False)
