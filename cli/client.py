"""The typed client of the HTTP API. It raises the same errors that the server raised."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from cli.answers import error_of, parsed, parsed_list, rebuilt, retry_after_s
from cli.duplicate_calls import DuplicateCalls
from cli.index_calls import IndexCalls
from cli.job_calls import JobCalls
from cli.webhook_calls import WebhookCalls
from shared.contracts import (
    CatalogueOut,
    Health,
    ImportOptions,
    JobOut,
    ProductIn,
    ProductOut,
    SearchOptions,
    SearchRequest,
    SearchResult,
    TaskStatus,
)
from shared.errors import Conflict, InvalidInput, Unavailable
from shared.imports.kinds import media_type

Sent = Callable[[int], None]

_WAIT_S = 20
_MAX_PAUSE_S = 2.0
_PIECE_BYTES = 1 << 18
_OPEN = ("queued", "running")


class VitrineClient(JobCalls, IndexCalls, DuplicateCalls, WebhookCalls):
    """Talks to one Vitrine. May be used from several threads.

    Args:
        base_url: ``http://host:port``.
        api_key: sent as ``Authorization: Bearer``, when set.
        timeout_s: limit of one request without progress, not of a search or job.

    Every method raises ``Unavailable`` when Vitrine cannot be reached, and otherwise the error of
    ``shared.errors`` that the server answered with.
    """

    def search(
        self,
        photo: Path | bytes | Sequence[Path | bytes],
        options: SearchOptions | None = None,
        deadline_s: float = 60.0,
    ) -> SearchResult:
        """Return what a photo shows.

        Args:
            photo: a file, or its bytes; or up to five photos of one thing.
            deadline_s: how long to wait for the answer, and through an overloaded server.
        """
        photos = [photo] if isinstance(photo, Path | bytes) else list(photo)
        files = [("image", ("photo", each if isinstance(each, bytes) else _read(each))) for each in photos]
        return self._searched(deadline_s, data=_form(options or SearchOptions()), files=files)

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
        self, after: str, top_k: int | None = None, locale: str | None = None, deadline_s: float = 60.0
    ) -> SearchResult:
        """Return the page of a group that follows, which is alone in the answer.

        Args:
            after: the ``next`` of the group in the answer before.
            top_k, locale: as the first page had them, unless they are given.
        """
        wanted = {"after": after, "top_k": top_k, "locale": locale}
        return self._searched(deadline_s, json={k: v for k, v in wanted.items() if v is not None})

    def _asked(self, options: SearchOptions | None, deadline_s: float, **source: str) -> SearchResult:
        chosen = (options or SearchOptions()).model_dump(exclude_defaults=True)
        wanted = SearchRequest.model_validate({**chosen, **source})
        return self._searched(deadline_s, json=wanted.model_dump(mode="json", exclude_defaults=True))

    def task(self, task_id: str) -> TaskStatus:
        """Return the state of a search, with its result once it is there."""
        return self._get(TaskStatus, f"/v1/tasks/{task_id}")

    def start_import(
        self,
        archive: Path,
        catalogue: str,
        on_sent: Sent | None = None,
        options: ImportOptions | None = None,
    ) -> JobOut:
        """Send an archive or a manifest as an import, which makes the catalogue; return the job.

        Args:
            on_sent: called with the number of bytes sent so far.
        """
        headers = {
            "Content-Type": media_type(archive.name) or "application/zip",
            "Content-Length": str(archive.stat().st_size),
            "Idempotency-Key": str(uuid.uuid4()),
        }
        answer = self._request(
            "POST",
            f"/v1/catalogues/{catalogue}/imports",
            headers=headers,
            params=(options or ImportOptions()).model_dump(mode="json", exclude_defaults=True),
            content=_pieces(archive, on_sent or (lambda _: None)),
            timeout=httpx.Timeout(self._timeout_s, read=600.0),
        )
        return parsed(JobOut, answer)

    def import_on_server(self, source: str, catalogue: str, options: ImportOptions | None = None) -> JobOut:
        """Import what the server can read: its path, or an s3:// or web address; return the job."""
        wanted = {**(options or ImportOptions()).model_dump(mode="json"), "source": source}
        return parsed(JobOut, self._request("POST", f"/v1/catalogues/{catalogue}/imports", json=wanted))

    def reconcile(self, catalogue: str, repair: bool = False) -> JobOut:
        """Start comparing catalogue and index; return the job, whose report says what differs."""
        address = f"/v1/catalogues/{catalogue}/reconcile"
        return parsed(JobOut, self._request("POST", address, json={"repair": repair}))

    def status(self) -> dict[str, Any]:
        """Return processes, queues, catalogues and running jobs, as ``GET /v1/status`` says them."""
        found: dict[str, Any] = self._request("GET", "/v1/status").json()
        return found

    def health(self) -> Health:
        """Return the readiness, part by part."""
        return parsed(Health, self._request("GET", "/readyz", accepted=(200, 503)))

    def catalogues(self) -> list[CatalogueOut]:
        """Return all catalogues."""
        return parsed_list(CatalogueOut, self._request("GET", "/v1/catalogues"))

    def make_catalogue(self, catalogue: str, currency: str = "EUR") -> CatalogueOut:
        """Make a catalogue, unless it exists.

        Args:
            currency: of prices that name none.
        """
        answer = self._request("PUT", f"/v1/catalogues/{catalogue}", json={"currency": currency})
        return parsed(CatalogueOut, answer)

    def delete_catalogue(self, catalogue: str) -> JobOut:
        """Delete a catalogue with all that it holds; return the job."""
        return parsed(JobOut, self._request("DELETE", f"/v1/catalogues/{catalogue}"))

    def product(self, catalogue: str, product_id: str) -> ProductOut:
        """Return a product with its pictures."""
        return self._get(ProductOut, f"/v1/catalogues/{catalogue}/products/{product_id}")

    def put_product(
        self, catalogue: str, product_id: str, product: ProductIn, images: Sequence[Path] | None = None
    ) -> JobOut:
        """Write a product; return the job.

        Args:
            images: its pictures, the main one first; None keeps those it has.
        """
        address = f"/v1/catalogues/{catalogue}/products/{product_id}"
        if images is None:
            return parsed(JobOut, self._request("PUT", address, json=product.model_dump(mode="json")))
        files = [("image", (path.name, _read(path))) for path in images]
        answer = self._request("PUT", address, data={"product": product.model_dump_json()}, files=files)
        return parsed(JobOut, answer)

    def patch_product(self, catalogue: str, product_id: str, patch: dict[str, Any]) -> JobOut:
        """Change some of a product's data (JSON Merge Patch); return the job."""
        address = f"/v1/catalogues/{catalogue}/products/{product_id}"
        return parsed(JobOut, self._request("PATCH", address, json=patch))

    def delete_product(self, catalogue: str, product_id: str) -> JobOut:
        """Delete a product; return the job."""
        return parsed(JobOut, self._request("DELETE", f"/v1/catalogues/{catalogue}/products/{product_id}"))

    def _searched(self, deadline_s: float, **body: Any) -> SearchResult:
        deadline = time.monotonic() + deadline_s
        status = self._accepted(deadline, body)
        pause_s = 0.1
        while status.state in _OPEN:
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"Search {status.id} was not answered in {deadline_s:.0f} s; poll it later."
                )
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _MAX_PAUSE_S)
            status = self.task(status.id)
        if status.error is not None:
            raise rebuilt(status.error.model_dump())
        if status.result is None:
            raise Conflict(f"Search {status.id} was cancelled.")
        return status.result

    def _accepted(self, deadline: float, body: dict[str, Any]) -> TaskStatus:
        """Send a search, again while the server is overloaded: the key makes it one search."""
        wait_s = max(0, min(_WAIT_S, int(deadline - time.monotonic())))
        headers = {"Idempotency-Key": str(uuid.uuid4()), "Prefer": f"wait={wait_s}"}
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


def _read(photo: Path) -> bytes:
    try:
        return photo.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{photo} cannot be read: {error.strerror}.", "image") from error


def _form(options: SearchOptions) -> dict[str, str]:
    fields = options.model_dump(mode="json", exclude_defaults=True)
    return {name: _field(value) for name, value in fields.items()}


def _field(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _pieces(archive: Path, on_sent: Sent) -> Iterator[bytes]:
    sent = 0
    with archive.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece
            sent += len(piece)
            on_sent(sent)
