"""Calls that manage catalogues, write products, and start imports."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from shared.contracts import CatalogueOut, ImportOptions, JobOut, ProductIn, ProductOut
from shared.errors import NotFound
from shared.imports.kinds import media_type
from vitrine_client.answers import parse_answer, parse_answers
from vitrine_client.connection import Connection
from vitrine_client.searches import read_photo

#: Called with the number of bytes sent so far.
Sent = Callable[[int], None]

_PIECE_BYTES = 1 << 18
#: Timeout for the server to store a large archive.
_STORE_TIMEOUT_S = 600.0


class CatalogueCalls(Connection):
    """Part of ``Vitrine``. Changes of a catalogue are jobs: ``wait_job`` waits for their end."""

    def catalogues(self) -> list[CatalogueOut]:
        """Return all catalogues."""
        return parse_answers(CatalogueOut, self._request("GET", "/v1/catalogues"))

    def make_catalogue(self, catalogue: str, currency: str = "EUR") -> CatalogueOut:
        """Create a catalogue, unless it exists.

        Args:
            currency: default currency of prices.
        """
        answer = self._request("PUT", f"/v1/catalogues/{catalogue}", json={"currency": currency})
        return parse_answer(CatalogueOut, answer)

    def delete_catalogue(self, catalogue: str) -> JobOut:
        """Delete a catalogue and its content; return the job."""
        return parse_answer(JobOut, self._request("DELETE", f"/v1/catalogues/{catalogue}"))

    def product(self, catalogue: str, product_id: str) -> ProductOut:
        """Return a product with its pictures."""
        return self._get(ProductOut, f"/v1/catalogues/{catalogue}/products/{quote(product_id, safe='')}")

    def put_product(
        self,
        catalogue: str,
        product_id: str,
        product: ProductIn,
        images: Sequence[Path | str | bytes] | None = None,
    ) -> JobOut:
        """Write a product; return the job.

        Args:
            images: its pictures as files or bytes, the main one first; None keeps the present ones.
        """
        address = f"/v1/catalogues/{catalogue}/products/{quote(product_id, safe='')}"
        if images is None:
            return parse_answer(JobOut, self._request("PUT", address, json=product.model_dump(mode="json")))
        files = [("image", (f"{n}.jpg", read_photo(image))) for n, image in enumerate(images)]
        answer = self._request("PUT", address, data={"product": product.model_dump_json()}, files=files)
        return parse_answer(JobOut, answer)

    def patch_product(self, catalogue: str, product_id: str, patch: dict[str, Any]) -> JobOut:
        """Change some of a product's data (JSON Merge Patch); return the job."""
        address = f"/v1/catalogues/{catalogue}/products/{quote(product_id, safe='')}"
        return parse_answer(JobOut, self._request("PATCH", address, json=patch))

    def delete_product(self, catalogue: str, product_id: str) -> JobOut:
        """Delete a product; return the job."""
        return parse_answer(
            JobOut,
            self._request("DELETE", f"/v1/catalogues/{catalogue}/products/{quote(product_id, safe='')}"),
        )

    def import_mapping(self, catalogue: str) -> dict[str, list[str]]:
        """Return the kept columns of each field; empty for a catalogue that does not exist yet."""
        try:
            answer = self._request("GET", f"/v1/catalogues/{catalogue}/mapping")
        except NotFound:
            return {}
        found: dict[str, list[str]] = answer.json()["mapping"]
        return found

    def start_import(
        self,
        archive: Path,
        catalogue: str,
        on_sent: Sent | None = None,
        options: ImportOptions | None = None,
    ) -> JobOut:
        """Upload an archive or manifest as an import, which creates the catalogue; return the job.

        The file is streamed and may be larger than memory. A failed upload is not retried.

        Args:
            on_sent: called with the number of bytes sent so far.
        """
        params = (options or ImportOptions()).model_dump(mode="json", exclude_defaults=True)
        if "mapping" in params:
            params["mapping"] = json.dumps(params["mapping"])  # a query has texts only
        headers = {
            "Content-Type": media_type(archive.name) or "application/zip",
            "Content-Length": str(archive.stat().st_size),
            "Idempotency-Key": str(uuid.uuid4()),
        }
        answer = self._request(
            "POST",
            f"/v1/catalogues/{catalogue}/imports",
            headers=headers,
            params=params,
            content=_pieces(archive, on_sent or (lambda _: None)),
            timeout=httpx.Timeout(self._timeout_s, read=_STORE_TIMEOUT_S),
        )
        return parse_answer(JobOut, answer)

    def import_on_server(self, source: str, catalogue: str, options: ImportOptions | None = None) -> JobOut:
        """Start an import of a path on the server, or of an s3:// or web address; return the job."""
        body = {**(options or ImportOptions()).model_dump(mode="json"), "source": source}
        return parse_answer(JobOut, self._request("POST", f"/v1/catalogues/{catalogue}/imports", json=body))

    def reconcile(self, catalogue: str, repair: bool = False) -> JobOut:
        """Start a comparison of catalogue and index; return the job, whose report has the differences."""
        address = f"/v1/catalogues/{catalogue}/reconcile"
        return parse_answer(JobOut, self._request("POST", address, json={"repair": repair}))


def _pieces(archive: Path, on_sent: Sent) -> Iterator[bytes]:
    sent = 0
    with archive.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece
            sent += len(piece)
            on_sent(sent)
