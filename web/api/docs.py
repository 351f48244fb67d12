"""Render the API documentation from the OpenAPI document, without external resources."""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, current_app, render_template

from web.api.openapi import build_document
from web.services import services

blueprint = Blueprint("docs", __name__)

_EXAMPLES: dict[str, str] = {
    "post_searches": "-F image=@photo.jpg -F catalogue=demo -H 'Prefer: wait=10'",
    "put_catalogues_catalogue": '-X PUT --json \'{"currency": "EUR"}\'',
    "put_catalogues_catalogue_products_product_id": (
        '-X PUT -F \'product={"titles": {"en": "Oak chair"}, "price": 129}\' -F image=@chair.jpg'
    ),
    "post_catalogues_catalogue_imports": "-H 'Content-Type: application/zip' -T catalogue.zip -X POST",
}
_VALUES = {
    "catalogue": "demo",
    "product_id": "chair-1",
    "task_id": "$TASK",
    "search_id": "$TASK",
    "key_id": "$KEY_ID",
    "job_id": "$JOB",
    "image_id": "$IMAGE",
}


@blueprint.get("/docs")
def show_docs() -> str:
    """Render all calls with their parameters, bodies and answers, and all models."""
    keyed = services().settings.web.api_key is not None
    document = build_document(current_app, keyed)
    return render_template("docs.html", **_group_by_tag(document, keyed), info=document["info"], keyed=keyed)


def _group_by_tag(document: dict[str, Any], keyed: bool) -> dict[str, Any]:
    """Arrange the OpenAPI document for the template: calls by tag, and models."""
    tags: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document["paths"].items():
        for method, call in methods.items():
            entry = {
                "id": call["operationId"],
                "method": method.upper(),
                "path": path,
                "summary": call["summary"],
                "parameters": call["parameters"],
                "bodies": {
                    m: describe_schema(c["schema"])
                    for m, c in call.get("requestBody", _NO_BODY)["content"].items()
                },
                "answers": {s: _describe_answer(a) for s, a in call["responses"].items()},
                "curl": _build_curl(call["operationId"], method.upper(), path, keyed),
            }
            tags.setdefault(call["tags"][0], []).append(entry)
    models = {
        name: [
            (
                field,
                describe_schema(schema),
                field in model.get("required", ()),
                _default(schema),
                schema.get("description", ""),
            )
            for field, schema in model.get("properties", {}).items()
        ]
        for name, model in document["components"]["schemas"].items()
    }
    return {"tags": tags, "models": models}


_NO_BODY: dict[str, Any] = {"content": {}}


def describe_schema(schema: dict[str, Any]) -> str:
    """Describe a schema briefly: ``SearchResult``, ``list of Hit``, ``number or null``."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(describe_schema(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(json.dumps(value) for value in schema["enum"])
    if schema.get("type") == "array":
        inner: dict[str, Any] = schema.get("items") or next(iter(schema.get("prefixItems", [])), {})
        return f"list of {describe_schema(inner)}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {describe_schema(schema['additionalProperties'])}"
    kind = str(schema.get("format") or schema.get("type") or "any")
    bounds = [
        f"{word} {schema[key]}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in schema
    ]
    return " ".join([kind, *bounds])


def _default(schema: dict[str, Any]) -> str:
    return json.dumps(schema["default"]) if schema.get("default") is not None else ""


def _describe_answer(answer: dict[str, Any]) -> tuple[str, str]:
    shapes = [describe_schema(content["schema"]) for content in answer.get("content", {}).values()]
    return answer["description"], ", ".join(shapes)


def _build_curl(operation_id: str, method: str, path: str, keyed: bool) -> str:
    """Build a curl command that can be pasted into a shell."""
    for name, value in _VALUES.items():
        path = path.replace(f"{{{name}}}", value)
    key = ' -H "Authorization: Bearer $KEY"' if keyed else ""
    options = _EXAMPLES.get(operation_id) or (f"-X {method}" if method != "GET" else "")
    if method == "POST" and not options.strip("-X POST"):
        options = "-X POST -d ''"
    return " ".join(f"curl{key} {options} http://127.0.0.1:8000{path}".split())
