"""Calls that search, and fetch what was searched for."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from shared.contracts import SearchOptions, SearchRequest, SearchResult, TaskStatus
from shared.errors import Conflict, InvalidInput, Unavailable
from vitrine_client.answers import error_of, parsed, rebuilt, retry_after_s
from vitrine_client.connection import Connection

#: A file, or its bytes.
Photo = Path | str | bytes

#: How long the server is asked to hold the answer back until it is there.
_WAIT_S = 20
_FIRST_PAUSE_S, _MOST_PAUSE_S = 0.1, 2.0
_OPEN = ("queued", "running")


class SearchCalls(Connection):
    """Part of ``Vitrine``. Deadlines are in seconds, and hold through an overloaded server too."""

    def search(
        self,
        photo: Photo | Sequence[Photo],
        options: SearchOptions | None = None,
        deadline_s: float = 60.0,
    ) -> SearchResult:
        """Return what a photo shows.

        Args:
            photo: a file or its bytes; or up to five photos of one thing.
        """
        return self._searched(deadline_s, **_with_photos(photo, options))

    def search_url(
        self, image_url: str, options: SearchOptions | None = None, deadline_s: float = 60.0
    ) -> SearchResult:
        """Return what the photo at a web address shows, which the server fetches, if it may."""
        return self._asked(options, deadline_s, image_url=image_url)

    def search_product(
        self, product_id: str, options: SearchOptions | None = None, deadline_s: float = 60.0
    ) -> SearchResult:
        """Return what resembles a product of the catalogue."""
        return self._asked(options, deadline_s, product_id=product_id)

    def search_again(
        self, query_id: str, options: SearchOptions | None = None, deadline_s: float = 60.0
    ) -> SearchResult:
        """Ask an earlier search by photo again with other options, without sending the photo.

        Only a new box, another model, or a first search that is not answered yet needs the photo, which
        the server keeps for a while.
        """
        return self._asked(options, deadline_s, query_id=query_id)

    def search_like(self, options: SearchOptions, deadline_s: float = 60.0) -> SearchResult:
        """Return what resembles the products that ``options.like`` names, and not those of ``unlike``."""
        return self._asked(options, deadline_s)

    def next_page(
        self,
        after: str,
        top_k: int | None = None,
        locale: str | None = None,
        deadline_s: float = 60.0,
        currency: str | None = None,
    ) -> SearchResult:
        """Return the page of a group that follows, which is alone in the answer.

        Args:
            after: the ``next`` of the group in the answer before.
            top_k, locale, currency: as the first page had them, unless they are given.
        """
        wanted = {"after": after, "top_k": top_k, "locale": locale, "currency": currency}
        return self._searched(deadline_s, json={k: v for k, v in wanted.items() if v is not None})

    def begin_search(
        self,
        photo: Photo | Sequence[Photo],
        options: SearchOptions | None = None,
        deadline_s: float = 60.0,
    ) -> TaskStatus:
        """Send a photo and do not wait for the answer; ``wait`` does, with the ``id`` of what is returned."""
        body = _with_photos(photo, options)
        return self._accepted(time.monotonic() + deadline_s, 0, body)

    def wait(self, task_id: str, deadline_s: float = 60.0) -> SearchResult:
        """Return the answer to a search that was begun, as soon as it is there."""
        return self._ended(self.task(task_id), time.monotonic() + deadline_s)

    def task(self, task_id: str) -> TaskStatus:
        """Return the state of a search, with its result once it is there."""
        return self._get(TaskStatus, f"/v1/tasks/{task_id}")

    def cancel_search(self, task_id: str) -> TaskStatus:
        """Cancel a search that nobody took yet; return its state."""
        return parsed(TaskStatus, self._request("DELETE", f"/v1/tasks/{task_id}"))

    def _asked(self, options: SearchOptions | None, deadline_s: float, **source: str) -> SearchResult:
        chosen = (options or SearchOptions()).model_dump(exclude_defaults=True)
        wanted = SearchRequest.model_validate({**chosen, **source})
        return self._searched(deadline_s, json=wanted.model_dump(mode="json", exclude_defaults=True))

    def _searched(self, deadline_s: float, **body: Any) -> SearchResult:
        deadline = time.monotonic() + deadline_s
        return self._ended(self._accepted(deadline, _WAIT_S, body), deadline)

    def _ended(self, status: TaskStatus, deadline: float) -> SearchResult:
        """Poll a search to its end, less and less often."""
        began, pause_s = time.monotonic(), _FIRST_PAUSE_S
        while status.state in _OPEN:
            if time.monotonic() > deadline:
                waited_s = max(deadline - began, 0.0)
                raise Unavailable(f"Search {status.id} was not answered in {waited_s:.0f} s; poll it later.")
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _MOST_PAUSE_S)
            status = self.task(status.id)
        if status.error is not None:
            raise rebuilt(status.error.model_dump())
        if status.result is None:
            raise Conflict(f"Search {status.id} was cancelled.")
        return status.result

    def _accepted(self, deadline: float, wait_s: int, body: dict[str, Any]) -> TaskStatus:
        """Send a search, again while the server is overloaded: the key makes it one search."""
        wait_s = max(0, min(wait_s, int(deadline - time.monotonic())))
        headers = {"Idempotency-Key": str(uuid.uuid4())} | ({"Prefer": f"wait={wait_s}"} if wait_s else {})
        timeout = httpx.Timeout(self._timeout_s, read=self._timeout_s + wait_s)
        while True:
            answer = self._request(
                "POST", "/v1/searches", headers=headers, timeout=timeout, accepted=(200, 202, 429), **body
            )
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                return parsed(TaskStatus, answer)
            pause_s = retry_after_s(answer)
            if time.monotonic() + pause_s > deadline:
                raise error_of(answer)
            time.sleep(pause_s)


def read_photo(photo: Photo) -> bytes:
    """Return the bytes of a photo. Raises InvalidInput: there is no such file."""
    if isinstance(photo, bytes):
        return photo
    try:
        return Path(photo).read_bytes()
    except OSError as error:
        raise InvalidInput(f"{photo} cannot be read: {error.strerror}.", "image") from error


def _with_photos(photo: Photo | Sequence[Photo], options: SearchOptions | None) -> dict[str, Any]:
    photos = [photo] if isinstance(photo, Path | str | bytes) else list(photo)
    files = [("image", ("photo", read_photo(each))) for each in photos]
    fields = (options or SearchOptions()).model_dump(mode="json", exclude_defaults=True)
    return {"data": {name: _field(value) for name, value in fields.items()}, "files": files}


def _field(value: object) -> str:
    if isinstance(value, list):
        plain = not any(isinstance(each, dict) for each in value)
        return ",".join(map(str, value)) if plain and value else json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
