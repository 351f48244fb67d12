"""Rings the search lane for a search that is still being read.

On an idle machine the way through the broker to a worker takes as long as reading the request, so both happen
at once: the worker who was rung looks out for the search for a moment. Where its row is committed within that
moment the bell need not be rung again; a photo that takes longer rings as any other search does.
"""

from __future__ import annotations

import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor

from shared.doorbell import Doorbell
from shared.task_names import LOOK_OUT_S, TaskName

#: Of the moment that a worker looks out, how much may be over: it takes its last look before the end.
_SURE = 0.8


class Herald:
    """One a process; its thread starts with the first call."""

    def __init__(self, doorbell: Doorbell) -> None:
        self._doorbell = doorbell
        self._quiet_until = 0.0
        self._voice = ThreadPoolExecutor(1, thread_name_prefix="herald")

    def announce(self) -> Announcement | None:
        """Ring for a search that may be about to be accepted; returns at once, and never raises.

        None soon after another: whoever was rung for that one looks out still, or is busy and looks anew by
        itself. Nor do many requests that are refused cost many rings.
        """
        now = time.monotonic()
        if now < self._quiet_until:
            return None
        self._quiet_until = now + LOOK_OUT_S
        search_id = str(uuid.uuid4())
        return Announcement(search_id, self._voice.submit(self._ring, search_id))

    def _ring(self, search_id: str) -> float | None:
        """Return when the ringing began, in monotonic seconds; None where the broker did not take it."""
        began = time.monotonic()
        return began if self._doorbell.ring(TaskName.EXPECT_SEARCH, search_id) else None


class Announcement:
    """A search that was announced, as ``Herald.announce`` makes it.

    Attributes:
        search_id: under which it is to be accepted.
    """

    def __init__(self, search_id: str, rung: Future[float | None]) -> None:
        self.search_id = search_id
        self._rung = rung

    def is_heard(self) -> bool:
        """Whether who hears the bell finds the search, which was committed before this is asked.

        A worker hears it after the ringing began, and looks out from then on.
        """
        if not self._rung.done():
            return False
        began = self._rung.result()
        return began is not None and time.monotonic() - began < _SURE * LOOK_OUT_S
