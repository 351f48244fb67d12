"""Calls that find and list duplicates."""

from __future__ import annotations

from collections.abc import Iterator

from shared.contracts import JobOut
from shared.contracts.duplicates import DuplicateGroup, DuplicateKind, DuplicatePage, DuplicatesRequest
from vitrine_client.answers import parse_answer
from vitrine_client.connection import Connection


class DuplicateCalls(Connection):
    """Part of ``Vitrine``."""

    def find_duplicates(self, catalogue: str, request: DuplicatesRequest | None = None) -> JobOut:
        """Start a search for duplicate products; return the job."""
        body = (request or DuplicatesRequest()).model_dump(mode="json")
        return parse_answer(
            JobOut, self._request("POST", f"/v1/catalogues/{catalogue}/duplicates", json=body)
        )

    def duplicates(
        self, catalogue: str, kind: DuplicateKind | None = None, page: int = 100
    ) -> Iterator[DuplicateGroup]:
        """Yield the groups of the last such job, exact ones first.

        Args:
            kind: only groups of this kind.
            page: number of groups per request.
        """
        params: dict[str, str | int] = {"limit": page} | ({"kind": kind} if kind else {})
        while True:
            address = f"/v1/catalogues/{catalogue}/duplicates"
            found = parse_answer(DuplicatePage, self._request("GET", address, params=params))
            yield from found.groups
            if found.next_cursor is None:
                return
            params["cursor"] = found.next_cursor

    def duplicates_csv(self, catalogue: str, kind: DuplicateKind | None = None) -> Iterator[bytes]:
        """Yield all groups as the chunks of a CSV file, with a line per product."""
        params = {"kind": kind} if kind else {}
        with self._stream(f"/v1/catalogues/{catalogue}/duplicates.csv", params=params) as answer:
            yield from answer.iter_bytes()
