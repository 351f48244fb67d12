"""Calls that send and read feedback on hits."""

from __future__ import annotations

from collections.abc import Iterator

from shared.contracts.feedback import FeedbackIn, FeedbackKind, FeedbackOut
from vitrine_client.answers import parse_answer, parse_answers
from vitrine_client.connection import Connection

_PAGE = 1000


class FeedbackCalls(Connection):
    """Part of ``Vitrine``. The server accepts feedback only if its settings enable it."""

    def say(
        self, query_id: str, product_id: str, kind: FeedbackKind, object: int | None = None
    ) -> FeedbackOut:
        """Send feedback on a hit; repeated feedback is stored once.

        Args:
            query_id: `query_id` of the result.
            object: number of the object in the result; None for the group of the whole image.
        """
        request = FeedbackIn(query_id=query_id, product_id=product_id, kind=kind, object=object)
        answer = self._request(
            "POST", "/v1/feedback", accepted=(200, 201), json=request.model_dump(mode="json")
        )
        return parse_answer(FeedbackOut, answer)

    def feedback(self, catalogue: str) -> Iterator[FeedbackOut]:
        """Yield the feedback on a catalogue's hits, oldest first."""
        params: dict[str, str | int] = {"limit": _PAGE}
        while True:
            answer = self._request("GET", f"/v1/catalogues/{catalogue}/feedback", params=params)
            page = parse_answers(FeedbackOut, answer)
            yield from page
            if len(page) < _PAGE:
                return
            params["after"] = page[-1].id

    def feedback_csv(self, catalogue: str) -> Iterator[bytes]:
        """Yield the feedback as the chunks of a CSV file."""
        with self._stream(f"/v1/catalogues/{catalogue}/feedback.csv") as answer:
            yield from answer.iter_bytes()

    def feedback_photo(self, feedback_id: int) -> bytes:
        """Return the photo of a feedback, or raise NotFound if it was not stored."""
        return self._request("GET", f"/v1/feedback/{feedback_id}/photo").content
