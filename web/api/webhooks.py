"""Webhooks: URLs that are notified when jobs end and indexes go live."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from shared.contracts import DeliveryOut, WebhookIn, WebhookMade, WebhookOut
from shared.webhooks.addresses import check_address
from web.api.openapi import Parameter, operation
from web.http.bodies import parse_model, read_json, read_number
from web.http.url_fetches import fetch_slot
from web.services import services

blueprint = Blueprint("webhooks", __name__)

_MAX_DELIVERIES = 500


@blueprint.get("/v1/webhooks")
@operation("List webhooks without their secrets", "Webhooks", {200: [WebhookOut]})
def list_webhooks() -> Response:
    return jsonify([w.model_dump(mode="json") for w in services().webhooks.list_webhooks()])


@blueprint.post("/v1/webhooks")
@operation(
    "Add a webhook; only this answer contains its secret",
    "Webhooks",
    {201: WebhookMade},
    bodies={"application/json": WebhookIn},
    errors=(404, 409),
)
def add_webhook() -> tuple[Response, int]:
    body = parse_model(WebhookIn, read_json())
    with fetch_slot():
        check_address(body.url, services().settings.webhooks.allow_private)
    created = services().webhooks.add(body.url, body.events, body.catalogue)
    return jsonify(created.model_dump(mode="json")), 201


@blueprint.delete("/v1/webhooks/<webhook_id>")
@operation("Remove a webhook; its pending deliveries are dropped", "Webhooks", {204: None})
def remove_webhook(webhook_id: str) -> tuple[str, int]:
    services().webhooks.remove(webhook_id)
    return "", 204


@blueprint.get("/v1/webhooks/<webhook_id>/deliveries")
@operation(
    "List a webhook's deliveries of the last week, newest first",
    "Webhooks",
    {200: [DeliveryOut]},
    parameters=(Parameter("limit", f"1 to {_MAX_DELIVERIES}; default 50", type="integer"),),
)
def list_deliveries(webhook_id: str) -> Response:
    found = services().webhooks.deliveries(webhook_id, read_number("limit", 1, _MAX_DELIVERIES, 50))
    return jsonify([d.model_dump(mode="json") for d in found])


@blueprint.post("/v1/webhooks/<webhook_id>/test")
@operation("Send a test event to a webhook", "Webhooks", {202: DeliveryOut})
def send_test_event(webhook_id: str) -> tuple[Response, int]:
    return jsonify(services().webhooks.test(webhook_id).model_dump(mode="json")), 202
