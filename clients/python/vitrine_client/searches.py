"""Calls that submit searches and wait for their results."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from shared.contracts import OPEN_STATES, SearchOptions, SearchRequest, SearchResult, TaskStatus
from shared.errors import Conflict, InvalidInput, Unavailable
from shared.process.backoff import Backoff
from vitrine_client.answers import parse_answer, rebuild_error, retry_after_s, to_error
from vitrine_client.connection import Connection

#: Path or content of a file.
Photo = Path | str | bytes

#: Seconds that the server is asked to wait for the result before it answers (``Prefer: wait``).
_WAIT_S = 20
_POLL = Backoff(first_s=0.1, factor=1.5, max_s=2.0)


class SearchCalls(Connection):
    """Part of ``Vitrine``. Deadlines are in seconds, and include waits for an overloaded server."""

    def search(
        self,
        photo: Photo | Sequence[Photo],
        options: SearchOptions | None = None,
        deadline_s: float = 60.0,
    ) -> SearchResult:
        """Search by a photo, and return the result.

        Args:
            photo: a file or its bytes, or up to five photos of one object.
        """
        return self._search(deadline_s, **_with_photos(photo, options))

    def search_url(
        self, image_url: str, options: SearchOptions | None = None, deadline_s: float = 60.0
    ) -> SearchResult:
        """Search by the photo at a web address, which the server fetches if that is allowed."""
        return self._search_source(options, deadline_s, image_url=image_url)

    def search_product(
        self, product_id: str, options: SearchOptions | None = None, deadline_s: float = 60.0
    ) -> SearchResult:
        """Search for products that resemble a product of the catalogue."""
        return self._search_source(options, deadline_s, product_id=product_id)

    def search_again(
        self, query_id: str, options: SearchOptions | None = None, deadline_s: float = 60.0
    ) -> SearchResult:
        """Repeat an earlier search by photo with other options, without sending the photo.

        The server keeps the photo for a while. It needs it only for a new box, another model, or an earlier
        search that is not answered yet.
        """
        return self._search_source(options, deadline_s, query_id=query_id)

    def search_like(self, options: SearchOptions, deadline_s: float = 60.0) -> SearchResult:
        """Search for products that resemble those in ``options.like``, and not those in ``unlike``."""
        return self._search_source(options, deadline_s)

    def next_page(
        self,
        after: str,
        top_k: int | None = None,
        locale: str | None = None,
        deadline_s: float = 60.0,
        currency: str | None = None,
    ) -> SearchResult:
        """Return the next page of a group, the only group in the answer.

        Args:
            after: ``next`` of the group in the previous result.
            top_k, locale, currency: default to those of the first page.
        """
        request = {"after": after, "top_k": top_k, "locale": locale, "currency": currency}
        return self._search(deadline_s, json={k: v for k, v in request.items() if v is not None})

    def begin_search(
        self,
        photo: Photo | Sequence[Photo],
        options: SearchOptions | None = None,
        deadline_s: float = 60.0,
    ) -> TaskStatus:
        """Submit a search and return at once; pass the ``id`` of the status to ``wait``."""
        body = _with_photos(photo, options)
        return self._submit(time.monotonic() + deadline_s, 0, body)

    def wait(self, task_id: str, deadline_s: float = 60.0) -> SearchResult:
        """Wait for the result of a submitted search."""
        return self._wait_for_result(self.task(task_id), time.monotonic() + deadline_s)

    def task(self, task_id: str) -> TaskStatus:
        """Return the status of a search, with its result once it has one."""
        return self._get(TaskStatus, f"/v1/tasks/{task_id}")

    def cancel_search(self, task_id: str) -> TaskStatus:
        """Cancel a search unless it has ended; return its status."""
        return parse_answer(TaskStatus, self._request("DELETE", f"/v1/tasks/{task_id}"))

    def _search_source(self, options: SearchOptions | None, deadline_s: float, **source: str) -> SearchResult:
        chosen = (options or SearchOptions()).model_dump(exclude_defaults=True)
        request = SearchRequest.model_validate({**chosen, **source})
        return self._search(deadline_s, json=request.model_dump(mode="json", exclude_defaults=True))

    def _search(self, deadline_s: float, **body: Any) -> SearchResult:
        deadline = time.monotonic() + deadline_s
        return self._wait_for_result(self._submit(deadline, _WAIT_S, body), deadline)

    def _wait_for_result(self, status: TaskStatus, deadline: float) -> SearchResult:
        """Poll a search to its end, at growing intervals."""
        began, polls = time.monotonic(), 0
        while status.state in OPEN_STATES:
            if time.monotonic() > deadline:
                waited_s = max(deadline - began, 0.0)
                raise Unavailable(f"Search {status.id} was not answered in {waited_s:.0f} s; poll it later.")
            polls += 1
            time.sleep(_POLL.delay_s(polls))
            status = self.task(status.id)
        if status.error is not None:
            raise rebuild_error(status.error.model_dump())
        if status.result is None:
            raise Conflict(f"Search {status.id} was cancelled.")
        return status.result

    def _submit(self, deadline: float, wait_s: int, body: dict[str, Any]) -> TaskStatus:
        """Submit a search; repeat it while the server is overloaded, under one idempotency key."""
        wait_s = max(0, min(wait_s, int(deadline - time.monotonic())))
        headers = {"Idempotency-Key": str(uuid.uuid4())} | ({"Prefer": f"wait={wait_s}"} if wait_s else {})
        timeout = httpx.Timeout(self._timeout_s, read=self._timeout_s + wait_s)
        while True:
            answer = self._request(
                "POST", "/v1/searches", headers=headers, timeout=timeout, accepted=(200, 202, 429), **body
            )
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                return parse_answer(TaskStatus, answer)
            pause_s = retry_after_s(answer)
            if time.monotonic() + pause_s > deadline:
                raise to_error(answer)
            time.sleep(pause_s)


def read_photo(photo: Photo) -> bytes:
    """Return the content of a photo, or raise InvalidInput if the file cannot be read."""
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
