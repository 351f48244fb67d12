"""Build the OpenAPI 3.1 document from the views' decorators and the pydantic models."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NamedTuple, TypeVar

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from shared.contracts import ErrorAnswer, JobOut, TaskStatus
from web import __version__
from web.api.openapi_examples import EXAMPLES, PATH_PARAMETERS
from web.http.path_prefix import script_root
from web.http.roles import Access, access_of
from web.http.security import creates_work

View = TypeVar("View", bound=Callable[..., Any])
_ATTRIBUTE = "__described_"
_PATH_ARGUMENT = re.compile(r"<(?:\w+:)?(\w+)>")
_REF = "#/components/schemas/{model}"
_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key, or VITRINE_WEB__API_KEY. `vitrine keys create` makes keys: docs/access.md.",
}


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
        errors: error statuses besides those of ``list_errors``; all use ``ErrorAnswer``.
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


class Described(NamedTuple):
    """A method of a route with its description and its access."""

    path: str
    method: str
    operation: Operation
    access: Access


def _list_operations(app: Flask) -> list[Described]:
    """List the documented methods in the order of the routes."""
    found = []
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        described: Operation | None = getattr(view, _ATTRIBUTE, None)
        if described is None:
            continue
        path = _PATH_ARGUMENT.sub(r"{\1}", rule.rule)
        access = access_of(rule.endpoint, path)
        methods = sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
        found += [Described(path, method, described, access) for method in methods]
    return found


def build_document(app: Flask, keyed: bool) -> dict[str, Any]:
    """Build the OpenAPI document.

    Args:
        keyed: calls need an API key; otherwise one is described and not required.
    """
    operations = _list_operations(app)
    _, schemas = models_json_schema(
        [(model, "validation") for model in _models(operations)], ref_template=_REF
    )
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.method.lower()] = _describe(each)
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
        "components": {"schemas": schemas["$defs"], "securitySchemes": {"key": _SCHEME}},
    }
    if keyed:
        answer["security"] = [{"key": []}]
    return answer


def _models(operations: list[Described]) -> list[type[BaseModel]]:
    found: dict[str, type[BaseModel]] = {ErrorAnswer.__name__: ErrorAnswer}
    for _, _, described, _ in operations:
        for shape in (*described.answers.values(), *described.bodies.values()):
            model = shape[0] if isinstance(shape, list) else shape
            if isinstance(model, type) and issubclass(model, BaseModel):
                found[model.__name__] = model
    return list(found.values())


def _describe(each: Described) -> dict[str, Any]:
    path, method, described, access = each
    answers = dict.fromkeys(list_errors(each), ErrorAnswer) | described.answers
    found: dict[str, Any] = {
        "operationId": _operation_id(path, method),
        "summary": described.summary,
        "tags": [described.tag],
        "parameters": [
            {"name": name, "in": "path", "required": True, **PATH_PARAMETERS[name]}
            for name in re.findall(r"{(\w+)}", path)
        ]
        + [
            {"name": p.name, "in": p.location, "description": p.description, "schema": {"type": p.type}}
            for p in described.parameters
        ],
        "responses": {str(int(status)): _answer(status, shape) for status, shape in sorted(answers.items())},
    }
    if access.role is None:
        found["security"] = []
    else:
        found["description"] = f"Needs a key with the role `{access.role}` or higher."
    if described.bodies:
        found["requestBody"] = {
            "required": True,
            "content": {media: _body(shape) for media, shape in described.bodies.items()},
        }
    return found


def list_errors(each: Described) -> list[int]:
    """List the statuses of errors: those of the view, and those that its address, body and access imply."""
    found = {*each.operation.errors, HTTPStatus.BAD_REQUEST, HTTPStatus.SERVICE_UNAVAILABLE}
    if each.access.role is not None:
        found |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS}
    if "{" in each.path:
        found |= {HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY}
    if each.operation.parameters:
        found.add(HTTPStatus.UNPROCESSABLE_ENTITY)
    if each.method in ("POST", "PUT", "PATCH", "DELETE"):
        found |= {HTTPStatus.FORBIDDEN, HTTPStatus.LENGTH_REQUIRED, HTTPStatus.REQUEST_ENTITY_TOO_LARGE}
    if each.operation.bodies:
        found |= {HTTPStatus.UNSUPPORTED_MEDIA_TYPE, HTTPStatus.UNPROCESSABLE_ENTITY}
    return sorted(int(status) for status in found)


def _body(shape: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"schema": _schema(shape)}
    name = getattr(shape, "__name__", "")
    return found | ({"example": EXAMPLES[name]} if name in EXAMPLES else {})


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
