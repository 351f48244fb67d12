"""Start Flower, read-only and password-protected: ``python -m worker.flower``.

The password is set inside this process: command line arguments are readable by every user of the machine,
and Flower splits its environment variable at commas.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import sys

from celery.__main__ import main as celery
from flower.options import options
from flower.urls import handlers
from flower.views.monitor import Metrics
from tornado import web

from shared.settings import get_settings
from shared.settings.groups import FlowerSettings
from shared.storage.private_files import set_private_umask

#: Maximum number of finished tasks that Flower keeps in memory.
_MAX_TASKS = 10_000
#: Time after which Flower removes workers that are offline.
_PURGE_WORKERS_S = 3600
#: Minimum length of the password where Flower is reachable from other machines.
_MIN_PASSWORD = 12


class PrivateMetrics(Metrics):  # type: ignore[misc]  # Flower has no types
    """Flower's metrics, which name tasks and workers, protected by its password."""

    @web.authenticated
    async def get(self) -> None:
        await super().get()


def main() -> None:
    """Configure Flower from the settings and run it."""
    set_private_umask()
    flower = get_settings().flower
    password = choose_password(flower)
    if not flower.password or not flower.password.get_secret_value():
        print(f"Flower: user {flower.user}, password {password}", file=sys.stderr, flush=True)
    # Flower's own variables would override these options, and might expose what they close.
    for name in [name for name in os.environ if name.startswith("FLOWER_")]:
        del os.environ[name]
    handlers[:] = [_require_password(handler) for handler in handlers]
    options.address = flower.host
    options.port = flower.port
    options.basic_auth = [f"{flower.user}:{password}"]
    options.max_tasks = _MAX_TASKS
    options.read_only = True
    options.purge_offline_workers = _PURGE_WORKERS_S
    options.xheaders = flower.xheaders
    options.url_prefix = flower.url_prefix.strip("/") or None
    options.enable_events = True
    sys.argv = ["celery", "-A", "worker.app", "flower"]
    celery()


def choose_password(flower: FlowerSettings) -> str:
    """Return the configured password, or on loopback a random one where none is configured.

    Raises:
        SystemExit: Flower is reachable from other machines, and its password is missing or short.
    """
    password = flower.password.get_secret_value() if flower.password else ""
    if not _is_loopback(flower.host) and len(password) < _MIN_PASSWORD:
        raise SystemExit(
            f"Flower is reachable from other machines at {flower.host}: set VITRINE_FLOWER__PASSWORD to at "
            f"least {_MIN_PASSWORD} characters, or VITRINE_FLOWER__HOST to 127.0.0.1."
        )
    return password or secrets.token_urlsafe(16)


def _require_password(handler: object) -> object:
    """Return a route's handler, protected where Flower itself asks for no password."""
    if isinstance(handler, tuple) and handler[0] == "/metrics":
        return handler[0], PrivateMetrics
    return handler


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    main()
