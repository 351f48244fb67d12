"""Local addresses of the services of `vitrine up`."""

from __future__ import annotations

from shared.settings import Settings


def local_url(settings: Settings) -> str:
    """Return the address of the web server."""
    return f"http://{_reachable(settings.web.host)}:{settings.web.port}"


def flower_url(settings: Settings) -> str:
    """Return the address of Flower."""
    prefix = settings.flower.url_prefix.strip("/")
    root = f"http://{_reachable(settings.flower.host)}:{settings.flower.port}"
    return f"{root}/{prefix}" if prefix else root


def _reachable(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not listened on
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
