"""Send HTTP requests to a checked IP address, whatever the name resolves to later.

Every wait (for the connection and for every byte) ends with the deadline of the request, so that a slow
server cannot block a thread. The only importer of httpcore for connections.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpcore
import httpx

from shared.errors import Unreachable


@dataclass(frozen=True)
class Target:
    """A checked address: the IP address to connect to, and the requested URL."""

    url: httpx.URL
    address: str


@contextmanager
def exchange(
    method: str,
    target: Target,
    headers: Mapping[str, str],
    body: bytes | None,
    end: float,
    field: str,
    step_s: float = 3.0,
) -> Iterator[httpcore.Response]:
    """Send a request for the URL to the checked address, without proxies from the environment.

    Args:
        end: deadline of the whole exchange, monotonic seconds.
        field: name of the input for errors.
        step_s: timeout of each single wait.

    Raises:
        Unreachable: the server did not answer in time.
    """
    sent: list[tuple[bytes | str, bytes | str]] = [
        ("Host", target.url.netloc),
        ("User-Agent", "vitrine"),
        *headers.items(),
    ]
    url = httpcore.URL(
        scheme=target.url.raw_scheme,
        host=target.url.raw_host,
        port=target.url.port,
        target=target.url.raw_path,
    )
    waits = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), step_s)}
    try:
        with (
            httpcore.ConnectionPool(
                ssl_context=_certificates(), network_backend=_Pinned(target.address, end)
            ) as pool,
            pool.stream(method, url, headers=sent, content=body, extensions=waits) as answer,
        ):
            yield answer
    except httpcore.TimeoutException as error:
        raise Unreachable("The address delivers too slowly.", field) from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
        raise Unreachable(f"The address did not deliver: {type(error).__name__}.", field) from error


@cache
def _certificates() -> ssl.SSLContext:
    """Create the TLS context once, because loading the authorities takes longer than fetching a picture."""
    return httpx.create_ssl_context(trust_env=False)


@dataclass(frozen=True)
class _Pinned(httpcore.NetworkBackend):
    """Connects to one address only, whatever the requested name, and waits at most until ``end``."""

    address: str
    end: float

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        wait_s = _left_s(self.end, timeout, httpcore.ConnectTimeout)
        return _Timed(httpcore.SyncBackend().connect_tcp(self.address, port, wait_s), self.end)


@dataclass(frozen=True)
class _Timed(httpcore.NetworkStream):
    """A connection on which no wait exceeds ``end``, so that a trickling server hits the deadline too."""

    stream: httpcore.NetworkStream
    end: float

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, _left_s(self.end, timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.stream.write(buffer, _left_s(self.end, timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        wait_s = _left_s(self.end, timeout, httpcore.ConnectTimeout)
        return _Timed(self.stream.start_tls(ssl_context, server_hostname, wait_s), self.end)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


def _left_s(end: float, timeout: float | None, too_late: type[Exception]) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise too_late
    return left if timeout is None else min(left, timeout)
