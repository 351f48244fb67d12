"""Publishes task names with a row's id, or calls a worker that stands by.

A lost ring or call costs time, never work: the sweeper rings again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from shared.celery_config import make_celery
from shared.standby import Call, Caller
from shared.task_names import LANE_OF, TaskName

log = logging.getLogger(__name__)


class Doorbell:
    """Rings workers through the broker.

    Args:
        redis_url: the broker.
        rest_s: after a failed ring, how long none is tried: a frozen broker must not cost every
            request its socket timeout.
    """

    def __init__(self, redis_url: str, rest_s: float = 2.0) -> None:
        self._app = make_celery(redis_url, socket_timeout_s=1.0)
        self._caller = Caller(redis_url)
        #: Whether a worker stood by when one was last called; nobody knows before.
        self.was_heard = True
        self._rest_s = rest_s
        self._silent_until = 0.0

    def call(self, search_id: str, photo: str = "") -> bool:
        """Tell a worker that stands by of a search that is about to be committed; False where none does.

        Args:
            photo: key of what it may decode meanwhile.
        """
        self.was_heard = self._taken(
            f"the call for {search_id}", lambda: self._caller.call(Call(search_id, photo))
        )
        return self.was_heard

    def ring(self, task: TaskName, row_id: str) -> bool:
        """Publish ``task`` for the ledger row ``row_id``; False when the broker did not take it.

        A search is told to a worker that stands by, where there is one.
        """
        if task is TaskName.ANSWER_SEARCHES and self.call(row_id):
            return True

        def publish() -> bool:
            self._app.send_task(str(task), args=[row_id], task_id=row_id, queue=str(LANE_OF[task]))
            return True

        return self._taken(f"{task} for {row_id}", publish)

    def _taken(self, what: str, tell: Callable[[], bool]) -> bool:
        if time.monotonic() < self._silent_until:
            return False
        try:
            return tell()
        except Exception as error:  # the transport raises many kinds, and none may reach a shopper
            self._silent_until = time.monotonic() + self._rest_s
            log.warning("broker did not take %s: %s", what, type(error).__name__)
            return False
