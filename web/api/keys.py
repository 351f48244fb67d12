"""API keys: create, list, rotate and revoke them."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from shared.contracts.keys import KeyIn, KeyMade, KeyOut, KeyRotation
from shared.errors import UnknownCatalogue
from web.api.openapi import operation
from web.http.audit import note_object
from web.http.bodies import parse_model, read_json, read_optional_json
from web.http.principals import current_principal
from web.services import services

blueprint = Blueprint("keys", __name__)


@blueprint.get("/v1/keys")
@operation("List all API keys without their secrets", "Keys", {200: [KeyOut]})
def list_keys() -> Response:
    return jsonify([key.model_dump(mode="json") for key in services().keys.list_keys()])


@blueprint.post("/v1/keys")
@operation(
    "Create an API key; only this answer contains it",
    "Keys",
    {201: KeyMade},
    bodies={"application/json": KeyIn},
    errors=(404, 409),
)
def create_key() -> tuple[Response, int]:
    wanted = parse_model(KeyIn, read_json())
    return _answer(create(wanted)), 201


@blueprint.post("/v1/keys/<key_id>/rotate")
@operation(
    "Replace an API key with a new one; the old one works until its grace ends",
    "Keys",
    {201: KeyMade},
    bodies={"application/json": KeyRotation},
    errors=(409,),
)
def rotate_key(key_id: str) -> tuple[Response, int]:
    return _answer(rotate(key_id, parse_model(KeyRotation, read_optional_json()))), 201


@blueprint.delete("/v1/keys/<key_id>")
@operation("Revoke an API key; within 5 s no process accepts it", "Keys", {200: KeyOut})
def revoke_key(key_id: str) -> Response:
    return _answer(revoke(key_id))


def create(wanted: KeyIn) -> KeyMade:
    """Create a key for catalogues that exist. Raises as ``KeyRepository.create``, and UnknownCatalogue."""
    parts = services()
    missing = sorted(set(wanted.catalogues).difference(parts.window.catalogues()))
    if missing:
        raise UnknownCatalogue(
            f"There is no catalogue {missing[0]!r}. GET /v1/catalogues lists them.", "catalogues"
        )
    made = parts.keys.create(wanted, _creator())
    parts.key_ring.forget()
    note_object(f"key:{made.id}")
    return made


def rotate(key_id: str, rotation: KeyRotation) -> KeyMade:
    """Replace a key. Raises as ``KeyRepository.rotate``."""
    made = services().keys.rotate(key_id, rotation.grace_s, _creator())
    services().key_ring.forget()
    note_object(f"key:{made.id}")
    return made


def revoke(key_id: str) -> KeyOut:
    """Revoke a key and end its sessions. Raises NotFound."""
    parts = services()
    revoked = parts.keys.revoke(key_id)
    parts.sessions.end_of(f"key:{key_id}")
    parts.key_ring.forget()
    parts.session_ring.forget()
    return revoked


def _creator() -> str | None:
    """Return the id of the key that sends the request; None for the bootstrap key."""
    key = current_principal().key
    return None if key is None else key.prefix


def _answer(key: KeyOut) -> Response:
    return jsonify(key.model_dump(mode="json"))
