"""Parse the server's answers to models, and its errors to exceptions."""

from __future__ import annotations

from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from shared.errors import Unavailable, VitrineError, all_errors

Model = TypeVar("Model", bound=BaseModel)


def parse_answer(model: type[Model], answer: httpx.Response) -> Model:
    """Parse an answer as a model, or raise VitrineError.

    Unknown fields are ignored, because the server may be newer.
    """
    try:
        return model.model_validate_json(answer.content, extra="ignore")
    except ValidationError as error:
        raise _unexpected_answer(answer) from error


def parse_answers(model: type[Model], answer: httpx.Response) -> list[Model]:
    """Parse an answer as a list of models, or raise VitrineError."""
    try:
        return TypeAdapter(list[model]).validate_json(answer.content, extra="ignore")  # type: ignore[valid-type]
    except ValidationError as error:
        raise _unexpected_answer(answer) from error


def to_error(answer: httpx.Response) -> VitrineError:
    """Convert an error answer to an exception."""
    try:
        return rebuild_error(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        kind = Unavailable if answer.status_code >= 500 else VitrineError
        return kind(f"{answer.request.url} answered {answer.status_code} {answer.reason_phrase}.")


def rebuild_error(body: dict[str, Any]) -> VitrineError:
    """Return an exception of the class with this error's code."""
    kind = all_errors().get(str(body["code"]), VitrineError)
    message = str(body["message"])
    if kind is VitrineError and body.get("request_id"):
        message += f" (request {body['request_id']})"
    return kind(message, body.get("field"))


def retry_after_s(answer: httpx.Response, otherwise: float = 1.0) -> float:
    """Return the seconds in ``Retry-After``, or ``otherwise`` without the header."""
    value = answer.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else otherwise


def _unexpected_answer(answer: httpx.Response) -> VitrineError:
    return VitrineError(
        f"The answer of {answer.request.url} is not Vitrine's: is another program running there?"
    )
