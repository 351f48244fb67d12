"""The client, with a typed method for every call of the API."""

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
    """Client of one Vitrine server. A context manager; safe for many threads.

    Args:
        base_url: ``http://host:port``.
        api_key: sent as ``Authorization: Bearer``, when set.
        timeout_s: timeout of one request without progress, not of a search or job.
        retries: maximum number of retries of a request that the server answered with 429 or 503, after the
            time in ``Retry-After``, or that never arrived. A request that may have arrived is retried only if
            it is idempotent.

    Every method raises ``Unavailable`` if the server cannot be reached, and otherwise the server's error as a
    class of ``vitrine_client``, with its ``code``, a ``message`` that says what to do, the invalid input as
    ``field``, and ``retryable``.
    """

    def status(self) -> dict[str, Any]:
        """Return processes, queues, catalogues and running jobs, as in ``GET /v1/status``."""
        found: dict[str, Any] = self._request("GET", "/v1/status").json()
        return found

    def health(self) -> Health:
        """Return the readiness by part."""
        return parse_answer(Health, self._request("GET", "/readyz", accepted=(200, 503)))
