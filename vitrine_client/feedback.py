"""Calls that say what shoppers do with hits, and read what was said."""

from __future__ import annotations

from collections.abc import Iterator

from shared.contracts.feedback import FeedbackIn, FeedbackKind, FeedbackOut
from vitrine_client.answers import parse_answer, parse_answers
from vitrine_client.connection import Connection

_PAGE = 1000


class FeedbackCalls(Connection):
    """Part of ``Vitrine``. The server takes feedback only where its operator allows it."""

    def say(
        self, query_id: str, product_id: str, kind: FeedbackKind, object: int | None = None
    ) -> FeedbackOut:
        """Say what somebody did with a hit; the same said twice is kept once.

        Args:
            query_id: of the answer.
            object: number of the object in it; None for the whole image's group.
        """
        wanted = FeedbackIn(query_id=query_id, product_id=product_id, kind=kind, object=object)
        answer = self._request(
            "POST", "/v1/feedback", accepted=(200, 201), json=wanted.model_dump(mode="json")
        )
        return parse_answer(FeedbackOut, answer)

    def feedback(self, catalogue: str) -> Iterator[FeedbackOut]:
        """Yield what was said of a catalogue's hits, the oldest first."""
        params: dict[str, str | int] = {"limit": _PAGE}
        while True:
            answer = self._request("GET", f"/v1/catalogues/{catalogue}/feedback", params=params)
            page = parse_answers(FeedbackOut, answer)
            yield from page
            if len(page) < _PAGE:
                return
            params["after"] = page[-1].id

    def feedback_csv(self, catalogue: str) -> Iterator[bytes]:
        """Yield the pieces of a CSV file of it."""
        with self._stream(f"/v1/catalogues/{catalogue}/feedback.csv") as answer:
            yield from answer.iter_bytes()

    def feedback_photo(self, feedback_id: int) -> bytes:
        """Return the photo that feedback is about; NotFound where it was not kept."""
        return self._request("GET", f"/v1/feedback/{feedback_id}/photo").content
