"""Publish wake-up messages: a task name with the id of a database row.

A lost message costs time, never work: the maintenance process publishes it again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from shared.broker.celery_config import make_celery
from shared.broker.task_names import LANE_OF, TaskName
from shared.process.backoff import CoolDown

log = logging.getLogger(__name__)

#: How long publishing is skipped after a failure: a frozen broker must not cost every request its timeout.
_COOL_DOWN_S = 2.0


class TaskPublisher:
    """Publishes through the broker.

    Args:
        redis_url: the broker.
    """

    def __init__(self, redis_url: str) -> None:
        self._app = make_celery(redis_url, socket_timeout_s=1.0)
        self._cool_down = CoolDown(_COOL_DOWN_S)

    def publish(self, task: TaskName, row_id: str, labels: Mapping[str, str] | None = None) -> bool:
        """Publish ``task`` for the row ``row_id``; return whether the broker accepted the message.

        The message has the row's id, so that Flower shows a search under the id that its client polls.

        Args:
            labels: shown by Flower as the task's keyword arguments; workers do not receive them.
        """
        if self._cool_down.is_active():
            return False
        try:
            self._app.send_task(
                str(task),
                args=[row_id],
                task_id=row_id,
                queue=str(LANE_OF[task]),
                kwargsrepr=repr(dict(labels or {})),
            )
        except Exception as error:  # the transport raises many kinds, and none may reach a shopper
            self._cool_down.record_failure()
            log.warning("broker did not take %s for %s: %s", task, row_id, type(error).__name__)
            return False
        return True
