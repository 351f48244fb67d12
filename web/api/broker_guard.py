"""Refuse new work while the broker refuses writes, before the body is read or anything is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask, current_app, g, request

from web.api.openapi import has_accepted_answer
from web.services import services

View = TypeVar("View", bound=Callable[..., Any])
_ATTRIBUTE = "__creates_work__"
#: A full broker stays full until an operator acts, so clients need not retry soon.
RETRY_AFTER_S = 10


def creates_work(view: View) -> View:
    """Mark a page's view that creates a search or a job; API views are recognised by their 202 answer."""
    setattr(view, _ATTRIBUTE, True)
    return view


def guard_broker(app: Flask) -> None:
    """Answer 503 ``broker_unavailable`` to calls that accept work while the broker refuses writes."""

    @app.before_request
    def _check() -> None:
        view = current_app.view_functions.get(request.endpoint or "")
        if view is not None and (hasattr(view, _ATTRIBUTE) or has_accepted_answer(view)):
            g.retry_after_s = RETRY_AFTER_S
            services().broker.require_writable()
            g.pop("retry_after_s")
