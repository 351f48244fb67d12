"""Configure gunicorn from Vitrine's settings, which refuse a public address without a key."""

from __future__ import annotations

from typing import Any

import gunicorn

from shared.errors import DatabaseUnavailable, Misconfigured
from shared.factories import open_migrated_database
from shared.process.interpreter import tune_gc
from shared.settings import get_settings
from web.api.events import SERVING
from web.services import EXTENSION

#: web/http/server_worker.py overrides internals of these releases; requirements/web.in pins one of them.
_GUNICORN = (27, 0)
if gunicorn.version_info[:2] != _GUNICORN:
    raise SystemExit(
        f"The web cannot start: gunicorn {gunicorn.__version__} is installed, and "
        "web/http/server_worker.py needs 27.0. Install requirements/web.lock."
    )

_settings = get_settings()
_host = f"[{_settings.web.host}]" if ":" in _settings.web.host else _settings.web.host

bind = f"{_host}:{_settings.web.port}"
worker_class = "web.http.server_worker.BoundedWorker"
worker_connections = 512
workers = _settings.web.workers
threads = _settings.web.threads
# Longer than the longest request: an upload over a slow connection followed by `Prefer: wait`.
timeout = 120
graceful_timeout = 30
keepalive = 15
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190
max_requests = 0
# Only ProxyFix trusts forwarded headers, for the configured number of hops.
forwarded_allow_ips = ""
proc_name = "vitrine-web"
control_socket_disable = True
# The application logs each request with its id.
accesslog = None
loglevel = _settings.log.level.lower()
logconfig_dict = {
    "root": {"level": _settings.log.level, "handlers": ["console"]},
    "loggers": {"gunicorn.error": {"level": _settings.log.level, "handlers": [], "propagate": True}},
}


def on_starting(server: Any) -> None:
    """Check the schema in the master, because gunicorn would restart a failing worker in a loop."""
    try:
        open_migrated_database(_settings).close()
    except DatabaseUnavailable as error:
        # Requests are answered 503 until the database is back.
        server.log.warning("The schema was not checked: %s", error.message)
    except Misconfigured as error:
        raise SystemExit(f"The web cannot start: {error.message}") from error


def post_worker_init(worker: Any) -> None:
    """Tune the process, and let event streams detect its shutdown, which they would otherwise delay."""
    worker.wsgi.extensions[SERVING] = lambda: worker.alive
    worker.wsgi.extensions[EXTENSION].photos.warm_up()
    tune_gc()
