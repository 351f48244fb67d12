"""The WSGI application for gunicorn: ``gunicorn -c web/gunicorn_conf.py web.wsgi:app``."""

from __future__ import annotations

import os
import socket

from shared.process.background import Periodic
from shared.process.log import configure_logging
from shared.settings import get_settings
from shared.storage.private_files import secure_data_folder
from web.app import create_app
from web.services import EXTENSION, Services

#: Seconds between two checks for uses of keys to store; each key's is stored at most once a minute.
_KEY_USES_INTERVAL_S = 10.0

_settings = get_settings()
configure_logging(_settings.log.level, _settings.log.format, "web")
secure_data_folder(_settings.data_dir)
app = create_app(_settings)

_parts: Services = app.extensions[EXTENSION]
# Process ids repeat between containers, so the name includes the host.
_name = f"web@{socket.gethostname()}:{os.getpid()}"
_parts.presence.start_heartbeat(_name, "web", lambda: {"threads": _settings.web.threads})
# Off the requests, so that no search waits for the write.
Periodic("key-uses", _KEY_USES_INTERVAL_S, _parts.key_ring.write_uses).start()
