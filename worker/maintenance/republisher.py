"""Publish work again whose message was lost: Celery on Redis may lose accepted messages."""

from __future__ import annotations

import logging
import time

import redis

from shared.broker.publisher import TaskPublisher
from shared.broker.redis_clients import QueueLengths
from shared.broker.task_names import Lane, TaskName
from shared.database import Database
from shared.jobs.messages import publish_chunks
from shared.jobs.queue import JobQueue
from shared.searches.queue import SearchQueue

log = logging.getLogger(__name__)

#: Maximum number of messages published again in one sweep.
_MAX_SEARCHES, _MAX_CHUNKS = 64, 8


class Republisher:
    """Compares waiting rows with queued messages, and publishes what has no message.

    Args:
        after_s: how long a row waits before its message counts as lost.
    """

    def __init__(
        self,
        database: Database,
        searches: SearchQueue,
        jobs: JobQueue,
        publisher: TaskPublisher,
        queues: QueueLengths,
        after_s: float,
    ) -> None:
        self.publisher = publisher
        self._database = database
        self._searches = searches
        self._jobs = jobs
        self._queues = queues
        self._after_s = after_s
        self._chunks_idle_since: float | None = None

    def run(self) -> None:
        """Publish searches and chunks again whose messages were lost."""
        self._republish_searches()
        self._republish_chunks()

    def _republish_searches(self) -> None:
        """Publish overdue searches again, never more messages than there are waiting searches."""
        overdue = self._searches.list_overdue(self._after_s, _MAX_SEARCHES)
        queued = self._queue_length(Lane.SEARCH) if overdue else None
        if queued is None:
            return
        missing = max(self._searches.count_waiting() - queued, 0)
        answer = TaskName.ANSWER_SEARCH
        published = [search for search in overdue[:missing] if self.publisher.publish(answer, search)]
        if published:
            self._searches.note_published(published)
            log.info("published %d searches again", len(published))

    def _republish_chunks(self) -> None:
        """Publish waiting chunks again when the queue has been empty for ``after_s`` seconds.

        A chunk may have been published a moment ago, so that one empty reading proves nothing.
        """
        chunks = self._jobs.list_overdue(_MAX_CHUNKS)
        if not chunks or self._queue_length(Lane.CATALOGUE) != 0:
            self._chunks_idle_since = None
            return
        now = time.monotonic()
        if self._chunks_idle_since is None:
            self._chunks_idle_since = now
        if now - self._chunks_idle_since >= self._after_s:
            published = publish_chunks(self.publisher, self._database, chunks)
            log.info("published %d chunks again", len(published))
            self._chunks_idle_since = None

    def _queue_length(self, lane: Lane) -> int | None:
        """Return the number of messages in a queue, None while the broker is unreachable."""
        try:
            return self._queues.read(lane)
        except (redis.RedisError, OSError) as error:
            log.warning("broker away: %s", type(error).__name__)
            return None
