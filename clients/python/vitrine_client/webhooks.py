"""Calls that manage webhooks."""

from __future__ import annotations

from collections.abc import Sequence

from shared.contracts import DeliveryOut, WebhookMade, WebhookOut
from vitrine_client.answers import parse_answer, parse_answers
from vitrine_client.connection import Connection


class WebhookCalls(Connection):
    """Part of ``Vitrine``."""

    def webhooks(self) -> list[WebhookOut]:
        """Return all webhooks, without their secrets."""
        return parse_answers(WebhookOut, self._request("GET", "/v1/webhooks"))

    def add_webhook(self, url: str, events: Sequence[str] = (), catalogue: str | None = None) -> WebhookMade:
        """Add a webhook; return it with its secret, which no other call returns.

        Args:
            events: events to send; empty for all.
            catalogue: only events of this catalogue.
        """
        body = {"url": url, "events": list(events), "catalogue": catalogue}
        return parse_answer(WebhookMade, self._request("POST", "/v1/webhooks", json=body, accepted=(201,)))

    def remove_webhook(self, webhook_id: str) -> None:
        """Remove a webhook."""
        self._request("DELETE", f"/v1/webhooks/{webhook_id}", accepted=(204,))

    def deliveries(self, webhook_id: str, limit: int = 50) -> list[DeliveryOut]:
        """Return the deliveries to a webhook, newest first."""
        address = f"/v1/webhooks/{webhook_id}/deliveries"
        return parse_answers(DeliveryOut, self._request("GET", address, params={"limit": limit}))

    def test_webhook(self, webhook_id: str) -> DeliveryOut:
        """Send a test event to a webhook; return its initial delivery."""
        return parse_answer(DeliveryOut, self._request("POST", f"/v1/webhooks/{webhook_id}/test", json={}))
