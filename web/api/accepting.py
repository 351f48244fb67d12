"""Refuses new work while the broker takes none, before anything of it is read, stored or committed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask, current_app, g, request

from web.api.openapi import accepts_work
from web.services import services

View = TypeVar("View", bound=Callable[..., Any])
_ATTRIBUTE = "__accepts_work__"
#: A full broker is full until someone acts.
RETRY_AFTER_S = 10


def accepting_work(view: View) -> View:
    """Mark a page's view that makes a search or a job; calls that answer 202 are known by that."""
    setattr(view, _ATTRIBUTE, True)
    return view


def guard_broker(app: Flask) -> None:
    """Answer 503 ``broker_unavailable`` to calls that accept work while the broker refuses writes."""

    @app.before_request
    def _check() -> None:
        view = current_app.view_functions.get(request.endpoint or "")
        if view is not None and (hasattr(view, _ATTRIBUTE) or accepts_work(view)):
            g.retry_after_s = RETRY_AFTER_S
            services().broker.require_writable()
            g.pop("retry_after_s")
