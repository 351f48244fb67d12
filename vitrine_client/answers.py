"""Reads the server's answers: models, and errors as the classes that they were."""

from __future__ import annotations

from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from shared.errors import Unavailable, VitrineError, all_errors

Model = TypeVar("Model", bound=BaseModel)


def parse_answer(model: type[Model], answer: httpx.Response) -> Model:
    """Return the answer as a model; VitrineError when it is something else.

    Fields that this version does not know are ignored: the server may be newer.
    """
    try:
        return model.model_validate_json(answer.content, extra="ignore")
    except ValidationError as error:
        raise _unexpected_answer(answer) from error


def parse_answers(model: type[Model], answer: httpx.Response) -> list[Model]:
    """Return the answer as a list of models; VitrineError when it is something else."""
    try:
        return TypeAdapter(list[model]).validate_json(answer.content, extra="ignore")  # type: ignore[valid-type]
    except ValidationError as error:
        raise _unexpected_answer(answer) from error


def to_error(answer: httpx.Response) -> VitrineError:
    """Return the error that a refusing answer stands for."""
    try:
        return rebuild_error(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        kind = Unavailable if answer.status_code >= 500 else VitrineError
        return kind(f"{answer.request.url} answered {answer.status_code} {answer.reason_phrase}.")


def rebuild_error(body: dict[str, Any]) -> VitrineError:
    """Return an error of the class that its code names."""
    kind = all_errors().get(str(body["code"]), VitrineError)
    message = str(body["message"])
    if kind is VitrineError and body.get("request_id"):
        message += f" (request {body['request_id']})"
    return kind(message, body.get("field"))


def retry_after_s(answer: httpx.Response, otherwise: float = 1.0) -> float:
    """Return how long the server asks to wait; ``otherwise`` when it does not say."""
    value = answer.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else otherwise


def _unexpected_answer(answer: httpx.Response) -> VitrineError:
    return VitrineError(
        f"{answer.request.url} answered something else than Vitrine would: is it another program?"
    )
