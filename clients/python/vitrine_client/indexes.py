"""Calls that manage index versions and golden queries."""

from __future__ import annotations

from collections.abc import Iterator

from shared.contracts import JobOut
from shared.contracts.base import Box, Contract
from shared.contracts.indexes import (
    ChooseIndex,
    GoldenOut,
    IndexOut,
    PromoteRequest,
    PruneRequest,
    ReprocessRequest,
    RollbackRequest,
)
from vitrine_client.answers import parse_answer, parse_answers
from vitrine_client.connection import Connection
from vitrine_client.searches import Photo, read_photo

_PAGE = 1000


class IndexCalls(Connection):
    """Part of ``Vitrine``."""

    def indexes(self, catalogue: str) -> list[IndexOut]:
        """Return the catalogue's index versions, newest first."""
        return parse_answers(IndexOut, self._request("GET", f"/v1/catalogues/{catalogue}/indexes"))

    def reprocess(self, catalogue: str, request: ReprocessRequest) -> JobOut:
        """Start re-processing the catalogue's pictures; return the job."""
        return self._index_job(catalogue, "reprocess", request)

    def promote(self, catalogue: str, request: PromoteRequest) -> JobOut:
        """Start promoting a ready index version to the live one; return the job."""
        return self._index_job(catalogue, "promote", request)

    def rollback(self, catalogue: str, request: RollbackRequest) -> JobOut:
        """Start a rollback to the previously live index version; return the job."""
        return self._index_job(catalogue, "rollback", request)

    def prune(self, catalogue: str, request: PruneRequest) -> JobOut:
        """Start dropping unneeded index versions; return the job."""
        return self._index_job(catalogue, "prune", request)

    def rebuild(self, catalogue: str, index: int | None = None) -> JobOut:
        """Start rebuilding an index version from the database; return the job."""
        return self._index_job(catalogue, "rebuild", ChooseIndex(index=index))

    def golden(self, catalogue: str) -> Iterator[GoldenOut]:
        """Yield the catalogue's golden queries."""
        params: dict[str, str | int] = {"limit": _PAGE}
        while True:
            address = f"/v1/catalogues/{catalogue}/golden"
            page = parse_answers(GoldenOut, self._request("GET", address, params=params))
            yield from page
            if len(page) < _PAGE:
                return
            params["after"] = page[-1].id

    def add_golden(self, catalogue: str, photo: Photo, product_id: str, box: Box | None = None) -> GoldenOut:
        """Add a golden query: a photo as file or bytes, and the product in it."""
        fields = {"product_id": product_id}
        if box is not None:
            fields["box"] = ",".join(f"{v:.6f}" for v in box)
        files = {"image": ("photo", read_photo(photo))}
        address = f"/v1/catalogues/{catalogue}/golden"
        answer = self._request("POST", address, accepted=(201,), data=fields, files=files)
        return parse_answer(GoldenOut, answer)

    def remove_golden(self, catalogue: str, golden_id: str) -> None:
        """Remove a golden query."""
        self._request("DELETE", f"/v1/catalogues/{catalogue}/golden/{golden_id}", accepted=(204,))

    def _index_job(self, catalogue: str, what: str, request: Contract) -> JobOut:
        address = f"/v1/catalogues/{catalogue}/{what}"
        return parse_answer(JobOut, self._request("POST", address, json=request.model_dump(mode="json")))
