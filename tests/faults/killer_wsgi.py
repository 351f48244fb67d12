"""The web application, in which one request dies by kill -9 at a place that the test names.

The place is the content of the file named by ``KILL_AT_FILE``; the file is removed first, so that
the process which comes after lives.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from shared.doorbell import Doorbell
from shared.image_store import ImageStore
from shared.ledger.searches import SearchLedger
from shared.settings import get_settings
from shared.task_names import TaskName
from web.app import create_app
from web.herald import Announcement, Herald

_FILE = Path(os.environ["KILL_AT_FILE"])


def _die_at(place: str) -> None:
    if _FILE.exists() and _FILE.read_text() == place:
        _FILE.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def _dying_after(
    kind: type, method: str, place: str, applies: Callable[..., bool] = lambda *_, **__: True
) -> None:
    original: Callable[..., Any] = getattr(kind, method)

    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        answer = original(self, *args, **kwargs)
        if applies(*args, **kwargs):
            _die_at(place)
        return answer

    setattr(kind, method, wrapped)


def _rung_before_it_returns(announce: Callable[[Herald], Announcement | None]) -> Any:
    def wrapped(self: Herald) -> Announcement | None:
        announcement = announce(self)
        if announcement is not None:
            announcement._rung.result()
            # Each search rings by itself too, or there would be no publish to die after.
            announcement._rung = Future()
        return announcement

    return wrapped


Herald.announce = _rung_before_it_returns(Herald.announce)  # type: ignore[method-assign]
_dying_after(Herald, "announce", "after the announcement")
_dying_after(ImageStore, "put", "after the file")
_dying_after(SearchLedger, "accept", "after the row")
_dying_after(Doorbell, "ring", "after the publish", lambda task, _: task != TaskName.EXPECT_SEARCH)

app = create_app(get_settings())
