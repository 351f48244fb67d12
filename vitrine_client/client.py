"""The client: every call of the API as a typed method."""

from __future__ import annotations

from typing import Any

from shared.contracts import Health
from vitrine_client.answers import parse_answer
from vitrine_client.catalogues import CatalogueCalls
from vitrine_client.duplicates import DuplicateCalls
from vitrine_client.feedback import FeedbackCalls
from vitrine_client.indexes import IndexCalls
from vitrine_client.jobs import JobCalls
from vitrine_client.ranking import RankingCalls
from vitrine_client.searches import SearchCalls
from vitrine_client.webhooks import WebhookCalls


class Vitrine(
    SearchCalls,
    CatalogueCalls,
    JobCalls,
    IndexCalls,
    RankingCalls,
    DuplicateCalls,
    FeedbackCalls,
    WebhookCalls,
):
    """Talks to one Vitrine. A context manager; may be used from several threads.

    Args:
        base_url: ``http://host:port``.
        api_key: sent as ``Authorization: Bearer``, when set.
        timeout_s: limit of one request without progress, not of a search or job.
        retries: how often a request is sent again that the server answered with 429 or 503, after what
            ``Retry-After`` says, or that never arrived. One that may have arrived is sent again only if
            doing it twice is the same as doing it once.

    Every method raises ``Unavailable`` when Vitrine cannot be reached, and otherwise the error that the
    server answered with, as its own class of ``vitrine_client``: its ``code`` is the server's, its
    ``message`` says what to do, ``field`` which input is wrong, ``retryable`` whether waiting may help.
    """

    def status(self) -> dict[str, Any]:
        """Return processes, queues, catalogues and running jobs, as ``GET /v1/status`` says them."""
        found: dict[str, Any] = self._request("GET", "/v1/status").json()
        return found

    def health(self) -> Health:
        """Return the readiness, part by part."""
        return parse_answer(Health, self._request("GET", "/readyz", accepted=(200, 503)))
