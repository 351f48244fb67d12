"""Webhooks: addresses that are told when jobs end and indexes go live."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from shared.contracts import DeliveryOut, WebhookIn, WebhookMade, WebhookOut
from shared.webhooks.addresses import check_address
from web.api.openapi import Parameter, operation
from web.http.bodies import asked_number, json_body
from web.http.errors import parsed
from web.http.url_fetches import fetch_place
from web.services import services

blueprint = Blueprint("webhooks", __name__)

_MOST = 500


@blueprint.get("/v1/webhooks")
@operation("All webhooks, without their secrets", "Webhooks", {200: [WebhookOut]})
def every() -> Response:
    return jsonify([w.model_dump(mode="json") for w in services().webhooks.list_webhooks()])


@blueprint.post("/v1/webhooks")
@operation(
    "Add a webhook; the answer alone shows its secret",
    "Webhooks",
    {201: WebhookMade},
    bodies={"application/json": WebhookIn},
    errors=(400, 403, 404, 409, 422),
)
def add() -> tuple[Response, int]:
    wanted = parsed(WebhookIn, json_body())
    with fetch_place():
        check_address(wanted.url, services().settings.webhooks.allow_private)
    made = services().webhooks.add(wanted.url, wanted.events, wanted.catalogue)
    return jsonify(made.model_dump(mode="json")), 201


@blueprint.delete("/v1/webhooks/<webhook_id>")
@operation("Remove a webhook; what was on its way to it is not sent", "Webhooks", {204: None}, errors=(404,))
def remove(webhook_id: str) -> tuple[str, int]:
    services().webhooks.remove(webhook_id)
    return "", 204


@blueprint.get("/v1/webhooks/<webhook_id>/deliveries")
@operation(
    "What was sent to a webhook in the last week, the newest first",
    "Webhooks",
    {200: [DeliveryOut]},
    parameters=(Parameter("limit", f"1 to {_MOST}; 50 if left out", type="integer"),),
    errors=(404, 422),
)
def deliveries(webhook_id: str) -> Response:
    found = services().webhooks.deliveries(webhook_id, asked_number("limit", 1, _MOST, 50))
    return jsonify([d.model_dump(mode="json") for d in found])


@blueprint.post("/v1/webhooks/<webhook_id>/test")
@operation("Send a test event to a webhook", "Webhooks", {202: DeliveryOut}, errors=(404,))
def test(webhook_id: str) -> tuple[Response, int]:
    return jsonify(services().webhooks.test(webhook_id).model_dump(mode="json")), 202
