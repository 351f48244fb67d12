"""Send requests, retry them where that is safe, and raise typed errors."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from shared.errors import Unavailable
from shared.process.backoff import Backoff
from vitrine_client.answers import Model, parse_answer, retry_after_s, to_error

#: Statuses of requests that changed nothing: the same request may be sent again.
_RETRYABLE_STATUSES = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)
#: Idempotent methods: they may be repeated even if the outcome of the first request is unknown.
_IDEMPOTENT_METHODS = ("GET", "HEAD", "PUT", "DELETE")
RETRY = Backoff(first_s=0.25, factor=2.0, max_s=30.0, jitter=0.5)


class Connection:
    """HTTP connection of the client. Safe for many threads. See ``Vitrine``."""

    def __init__(
        self, base_url: str, api_key: str | None = None, timeout_s: float = 30.0, retries: int = 3
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.base_url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=timeout_s,
            # Proxy variables are meant for the internet, not for loopback.
            trust_env=not _is_loopback(self.base_url),
        )
        self._timeout_s = timeout_s
        self._retries = retries

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _get(self, model: type[Model], address: str) -> Model:
        return parse_answer(model, self._request("GET", address))

    def _request(
        self, method: str, address: str, accepted: tuple[int, ...] = (200, 202), **arguments: Any
    ) -> httpx.Response:
        """Send a request, retry it where that is safe and may help, and raise the error of other answers."""
        keyed = "Idempotency-Key" in (arguments.get("headers") or {})
        repeatable = not isinstance(arguments.get("content"), Iterator)
        for left in range(self._retries if repeatable else 0, -1, -1):
            pause_s = RETRY.delay_s(self._retries - left + 1)
            try:
                with self._translate_errors():
                    answer = self._http.request(method, address, **arguments)
            except Unavailable as error:
                never_arrived = isinstance(error.__cause__, httpx.ConnectError)
                if not left or not (never_arrived or keyed or method in _IDEMPOTENT_METHODS):
                    raise
            else:
                if answer.status_code in accepted:
                    return answer
                if not left or answer.status_code not in _RETRYABLE_STATUSES:
                    break
                pause_s = max(pause_s, min(retry_after_s(answer, 0.0), RETRY.max_s))
            time.sleep(pause_s)
        raise to_error(answer)

    @contextmanager
    def _stream(self, address: str, **arguments: Any) -> Iterator[httpx.Response]:
        """Yield an answer whose body is streamed."""
        with self._translate_errors(), self._http.stream("GET", address, **arguments) as answer:
            if answer.status_code != httpx.codes.OK:
                answer.read()
                raise to_error(answer)
            yield answer

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            raise Unavailable(self._not_running_message()) from error
        except httpx.TimeoutException as error:
            raise Unavailable(f"Vitrine at {self.base_url} did not answer in time.") from error
        except httpx.TransportError as error:
            raise Unavailable(f"The connection to {self.base_url} broke: {error}") from error

    def _not_running_message(self) -> str:
        return f"No server answers at {self.base_url}: is Vitrine running there?"


def _is_loopback(base_url: str) -> bool:
    try:
        host = urlsplit(base_url).hostname or ""
        if host == "localhost":
            return True
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
