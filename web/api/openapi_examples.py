"""Descriptions of path parameters, and examples of bodies, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Final

_UUID: Final = {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}
_SEARCH: Final = {
    "description": "Id of a search",
    "schema": _UUID,
    "example": "3f0b8a9e-5d0c-4b57-9a52-0b0f2d9c6a11",
}
PATH_PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "catalogue": {
        "description": "Name of a catalogue",
        "schema": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,47}$"},
        "example": "shop",
    },
    "product_id": {
        "description": "Id of a product, at most 128 bytes of UTF-8; slashes and other characters escaped",
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
        "example": "chair-17",
    },
    "task_id": _SEARCH,
    "search_id": _SEARCH,
    "job_id": {
        "description": "Id of a job",
        "schema": _UUID,
        "example": "9b1d6c52-7a0f-4b6a-8b0e-2f1f0c8f4d3e",
    },
    "image_id": {
        "description": "Id of a catalogue picture",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "example": "c714f133bbf0c785c53e3da96620d2f3",
    },
    "golden_id": {"description": "Id of a golden query", "schema": {"type": "string", "maxLength": 64}},
    "feedback_id": {"description": "Number of a feedback", "schema": {"type": "integer", "minimum": 0}},
    "webhook_id": {"description": "Id of a webhook", "schema": {"type": "string", "maxLength": 64}},
    "key_id": {
        "description": "Id of a key",
        "schema": {"type": "string", "maxLength": 64},
        "example": "q7m2k9xd",
    },
    "session_id": {"description": "Id of a session", "schema": {"type": "string", "maxLength": 128}},
    "version": {"description": "Version of the widget", "schema": {"type": "string", "maxLength": 64}},
    "language": {
        "description": "Language of the texts",
        "schema": {"type": "string", "pattern": "^[A-Za-z-]{2,12}$"},
        "example": "de",
    },
}

#: By name of the body's model.
EXAMPLES: Final[dict[str, Any]] = {
    "SearchRequest": {
        "catalogue": "shop",
        "product_id": "chair-17",
        "top_k": 12,
        "filter": 'price < 200 and colour = "red"',
    },
    "ProductIn": {
        "titles": {"en": "Oak chair", "de": "Eichenstuhl"},
        "category": "Chairs",
        "price": "129.00",
        "currency": "EUR",
        "url": "https://shop.example/chair-17",
    },
    "KeyIn": {
        "name": "storefront",
        "role": "search",
        "catalogues": ["shop"],
        "origins": ["https://shop.example"],
    },
}
