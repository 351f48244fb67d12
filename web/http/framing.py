"""Let sites whose origins a key lists show the public storefront in a frame."""

from __future__ import annotations

from flask import Response, g

from shared.access.principal import Principal
from shared.errors import VitrineError
from web.services import services

_NO_FRAMES = "frame-ancestors 'none'"


def allow_framing(response: Response) -> None:
    """Replace the refusal of frames on a visitor's page; the owner's pages are never framed."""
    principal: Principal | None = g.get("principal")
    if principal is None or not principal.is_visitor or response.mimetype != "text/html":
        return
    try:
        origins = sorted(services().key_ring.live_origins())
    except VitrineError:
        return  # the page is an error of the same cause
    if origins:
        policy = response.headers["Content-Security-Policy"]
        response.headers["Content-Security-Policy"] = policy.replace(
            _NO_FRAMES, f"frame-ancestors {' '.join(origins)}"
        )
        del response.headers["X-Frame-Options"]
