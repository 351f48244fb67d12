"""What all calls of the HTTP API share: the connection, and errors as the classes that they were."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from cli.answers import Model, error_of, parsed
from shared.errors import Unavailable


class Calls:
    """A connection to one Vitrine; see ``VitrineClient``."""

    def __init__(self, base_url: str, api_key: str | None = None, timeout_s: float = 30.0) -> None:
        self.base_url = base_url.rstrip("/")
        self._http = httpx.Client(
            base_url=self.base_url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=timeout_s,
            # A proxy of the environment is for the internet, not for this machine.
            trust_env=not _is_here(self.base_url),
        )
        self._timeout_s = timeout_s

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
        with self._translated():
            answer = self._http.request(method, address, **arguments)
        if answer.status_code not in accepted:
            raise error_of(answer)
        return answer

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
            raise Unavailable(
                f"Vitrine is not running at {self.base_url}: start it with `vitrine up`, "
                "or set VITRINE_URL to where it runs."
            ) from error
        except httpx.TimeoutException as error:
            raise Unavailable(f"Vitrine at {self.base_url} did not answer in time.") from error
        except httpx.TransportError as error:
            raise Unavailable(f"The connection to {self.base_url} broke: {error}") from error


def _is_here(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
