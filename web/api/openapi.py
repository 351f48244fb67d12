"""Build the OpenAPI 3.1 document from the views' decorators and the pydantic models."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from shared.contracts import ErrorAnswer, JobOut, TaskStatus
from web import __version__
from web.http.path_prefix import script_root
from web.http.security import creates_work

View = TypeVar("View", bound=Callable[..., Any])
_ATTRIBUTE = "__described_"
_PATH_ARGUMENT = re.compile(r"<(?:\w+:)?(\w+)>")
_REF = "#/components/schemas/{model}"


@dataclass(frozen=True)
class Parameter:
    """A query parameter or header."""

    name: str
    description: str
    location: str = "query"
    type: str = "string"


@dataclass(frozen=True)
class Operation:
    """The documented requests and answers of a view.

    Attributes:
        summary: one sentence.
        tag: heading in the documentation.
        answers: by status: a model, ``[model]`` for a list, a media type, or None.
        bodies: model or media type by request content type.
        parameters: query parameters and headers; those in the path are read from the route.
        errors: documented error statuses; all use ``ErrorAnswer``.
    """

    summary: str
    tag: str
    answers: dict[int, Any]
    bodies: dict[str, Any]
    parameters: tuple[Parameter, ...]
    errors: tuple[int, ...]


def operation(
    summary: str,
    tag: str,
    answers: dict[int, Any],
    *,
    bodies: dict[str, Any] | None = None,
    parameters: tuple[Parameter, ...] = (),
    errors: tuple[int, ...] = (),
) -> Callable[[View], View]:
    """Attach an ``Operation`` to a view; its route is read from the URL map.

    A view that answers 202 with a search or a job creates work, and is marked so.
    """

    def mark(view: View) -> View:
        setattr(view, _ATTRIBUTE, Operation(summary, tag, answers, bodies or {}, parameters, errors))
        return creates_work(view) if answers.get(HTTPStatus.ACCEPTED) in (JobOut, TaskStatus) else view

    return mark


def _list_operations(app: Flask) -> list[tuple[str, str, Operation]]:
    """List the documented views as (path, method, operation) in the order of the routes."""
    found = []
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        described: Operation | None = getattr(view, _ATTRIBUTE, None)
        if described is None:
            continue
        path = _PATH_ARGUMENT.sub(r"{\1}", rule.rule)
        found += [
            (path, method, described) for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
        ]
    return found


def build_document(app: Flask, keyed: bool) -> dict[str, Any]:
    """Build the OpenAPI document.

    Args:
        keyed: calls under /v1 need the API key.
    """
    operations = _list_operations(app)
    _, schemas = models_json_schema(
        [(model, "validation") for model in _models(operations)], ref_template=_REF
    )
    paths: dict[str, dict[str, Any]] = {}
    for path, method, described in operations:
        paths.setdefault(path, {})[method.lower()] = _describe(path, method, described)
    answer: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Vitrine",
            "version": __version__,
            "description": "Finds the products of a catalogue that a photo shows.",
            "license": {"name": "AGPL-3.0-or-later", "identifier": "AGPL-3.0-or-later"},
        },
        "servers": [{"url": script_root() or "/"}],
        "paths": paths,
        "components": {"schemas": schemas["$defs"]},
    }
    if keyed:
        answer["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        answer["security"] = [{"key": []}]
    return answer


def _models(operations: list[tuple[str, str, Operation]]) -> list[type[BaseModel]]:
    found: dict[str, type[BaseModel]] = {ErrorAnswer.__name__: ErrorAnswer}
    for _, _, described in operations:
        for shape in (*described.answers.values(), *described.bodies.values()):
            model = shape[0] if isinstance(shape, list) else shape
            if isinstance(model, type) and issubclass(model, BaseModel):
                found[model.__name__] = model
    return list(found.values())


def _describe(path: str, method: str, described: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": _operation_id(path, method),
        "summary": described.summary,
        "tags": [described.tag],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"{(\w+)}", path)
        ]
        + [
            {"name": p.name, "in": p.location, "description": p.description, "schema": {"type": p.type}}
            for p in described.parameters
        ],
        "responses": {str(status): _answer(status, shape) for status, shape in described.answers.items()}
        | {str(status): _answer(status, ErrorAnswer) for status in described.errors},
    }
    if described.bodies:
        found["requestBody"] = {
            "required": True,
            "content": {media: {"schema": _schema(shape)} for media, shape in described.bodies.items()},
        }
    return found


def _answer(status: int, shape: Any) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if isinstance(shape, str):
        answer["content"] = {shape: {"schema": _schema(shape)}}
    elif shape is not None:
        answer["content"] = {"application/json": {"schema": _schema(shape)}}
    return answer


def _schema(shape: Any) -> dict[str, Any]:
    if isinstance(shape, list):
        return {"type": "array", "items": _schema(shape[0])}
    if isinstance(shape, str):
        return {"type": "string"} if shape.startswith("text/") else {"type": "string", "format": "binary"}
    return {"$ref": _REF.format(model=shape.__name__)}


def _operation_id(path: str, method: str) -> str:
    words = re.sub(r"\W+", "_", path.removeprefix("/v1")).strip("_")
    return f"{method.lower()}_{words}"
