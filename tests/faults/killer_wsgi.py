"""The web application, in which one request dies by kill -9 at a place that the test names.

The place is the content of the file named by ``KILL_AT_FILE``; the file is removed first, so that
the process which comes after lives.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared.broker.publisher import TaskPublisher
from shared.searches.repository import SearchRepository
from shared.settings import get_settings
from shared.storage.image_store import ImageStore
from web.app import create_app

_FILE = Path(os.environ["KILL_AT_FILE"])


def _die_at(place: str) -> None:
    if _FILE.exists() and _FILE.read_text() == place:
        _FILE.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def _dying_after(kind: type, method: str, place: str) -> None:
    original: Callable[..., Any] = getattr(kind, method)

    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        answer = original(self, *args, **kwargs)
        _die_at(place)
        return answer

    setattr(kind, method, wrapped)


_dying_after(ImageStore, "put", "after the file")
_dying_after(SearchRepository, "accept", "after the row")
_dying_after(TaskPublisher, "publish", "after the publish")

app = create_app(get_settings())
