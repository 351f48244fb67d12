"""What all calls share: the connection, tries again where that is safe, errors as typed exceptions."""

from __future__ import annotations

import ipaddress
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from shared.errors import Unavailable
from vitrine_client.answers import Model, error_of, parsed, retry_after_s

#: Answers that say that nothing was done: the same request may be sent again.
_NOT_DONE = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)
#: Methods that may be sent twice although nobody knows what became of the first.
_REPEATABLE = ("GET", "HEAD", "PUT", "DELETE")
_FIRST_PAUSE_S, _MOST_PAUSE_S = 0.25, 30.0


class Connection:
    """A connection to one Vitrine; may be used from several threads. See ``Vitrine``."""

    def __init__(
        self, base_url: str, api_key: str | None = None, timeout_s: float = 30.0, retries: int = 3
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.base_url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=timeout_s,
            # A proxy of the environment is for the internet, not for this machine.
            trust_env=not _is_here(self.base_url),
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
        return parsed(model, self._request("GET", address))

    def _request(
        self, method: str, address: str, accepted: tuple[int, ...] = (200, 202), **arguments: Any
    ) -> httpx.Response:
        """Send a request, again where that is safe and may help; raise the error of any other answer."""
        keyed = "Idempotency-Key" in (arguments.get("headers") or {})
        repeatable = not isinstance(arguments.get("content"), Iterator)
        for left in range(self._retries if repeatable else 0, -1, -1):
            pause_s = pause_before(self._retries - left)
            try:
                with self._translated():
                    answer = self._http.request(method, address, **arguments)
            except Unavailable as error:
                never_arrived = isinstance(error.__cause__, httpx.ConnectError)
                if not left or not (never_arrived or keyed or method in _REPEATABLE):
                    raise
            else:
                if answer.status_code in accepted:
                    return answer
                if not left or answer.status_code not in _NOT_DONE:
                    break
                pause_s = max(pause_s, min(retry_after_s(answer, 0.0), _MOST_PAUSE_S))
            time.sleep(pause_s)
        raise error_of(answer)

    @contextmanager
    def _streamed(self, address: str, **arguments: Any) -> Iterator[httpx.Response]:
        """Yield an answer whose body comes piece by piece."""
        with self._translated(), self._http.stream("GET", address, **arguments) as answer:
            if answer.status_code != httpx.codes.OK:
                answer.read()
                raise error_of(answer)
            yield answer

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            raise Unavailable(self._nobody_there()) from error
        except httpx.TimeoutException as error:
            raise Unavailable(f"Vitrine at {self.base_url} did not answer in time.") from error
        except httpx.TransportError as error:
            raise Unavailable(f"The connection to {self.base_url} broke: {error}") from error

    def _nobody_there(self) -> str:
        return f"Nothing answers at {self.base_url}: is Vitrine running there?"


def pause_before(tries: int) -> float:
    """Return how long to wait after so many tries: 0.25 s, 0.5 s, 1 s and so on, each less up to a half.

    By chance, so that callers that were refused together do not come back together.
    """
    longest = min(_FIRST_PAUSE_S * 2.0**tries, _MOST_PAUSE_S)
    return longest * random.uniform(0.5, 1.0)


def _is_here(base_url: str) -> bool:
    try:
        host = urlsplit(base_url).hostname or ""
        if host == "localhost":
            return True
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
