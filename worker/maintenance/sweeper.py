"""The sweeper: ``python -m worker.maintenance``. It publishes again what no worker took, puts back
what dead workers held, deletes what expired, and sends the events of webhooks. Any number may run:
each step is safe to repeat."""

from __future__ import annotations

import logging
import random
import signal
import socket
import threading
import time
from dataclasses import dataclass

import redis

from shared.broker.publisher import TaskPublisher
from shared.broker.redis_clients import QueueLengths
from shared.broker.task_names import Lane, TaskName
from shared.catalogue.automatic_calibration import CalibrationScheduler
from shared.database import Database
from shared.errors import DatabaseUnavailable, Misconfigured, VitrineError
from shared.factories import (
    open_database,
    open_image_store,
    open_migrated_database,
    open_picture_sweeper,
)
from shared.health.files import TOUCH_INTERVAL_S, LoopHeartbeat, health_file
from shared.health.presence import Presence
from shared.jobs.messages import publish_chunks
from shared.jobs.queue import JobQueue
from shared.process.background import Periodic
from shared.process.log import configure_logging
from shared.retention.expiry import expired_imports, forget_deleted_products, unused_query_images
from shared.retention.picture_sweep import PictureSweeper
from shared.searches.feedback import PHOTOS, FeedbackRepository
from shared.searches.metrics import SearchMetricsRepository
from shared.searches.queue import SearchQueue
from shared.settings import Settings, get_settings
from shared.storage.image_names import SHARDS
from shared.storage.image_store import ImageStore
from shared.storage.private_files import secure_data_folder
from worker.maintenance.disk_budgets import trim_files
from worker.maintenance.probing import Prober
from worker.maintenance.webhook_sender import WebhookSender

log = logging.getLogger(__name__)

#: Maximum number of messages published again in one sweep, for searches and for jobs.
_MAX_SEARCHES, _MAX_JOBS = 64, 8
_HOUSEKEEPING_S = 300.0
#: How often the disk budgets are enforced.
_TRIM_S = 60.0
#: How often it is looked whether a catalogue is to be calibrated.
_REFRESH_S = 60.0
#: Folders of pictures looked through each time, of 256, and how many of them may go.
_SHARDS, _MOST_PICTURES = 16, 5000


@dataclass
class Sweeper:
    """Keeps the ledger moving."""

    settings: Settings
    database: Database
    store: ImageStore
    searches: SearchQueue
    jobs: JobQueue
    publisher: TaskPublisher
    webhooks: WebhookSender
    pictures: PictureSweeper
    signals: SearchMetricsRepository
    feedback: FeedbackRepository
    prober: Prober
    refresher: CalibrationScheduler | None

    def __post_init__(self) -> None:
        self._queues = QueueLengths(self.settings.redis_url)
        self._cleaned_at = self._refreshed_at = self._trimmed_at = float("-inf")
        # Anywhere, so that no folder is left out where this process is often started anew.
        self._shard = random.randrange(len(SHARDS))
        # A chunk may have been published just now: it gets `ring_after_s` before its message counts as lost.
        self._chunks_idle_since: float | None = None

    def sweep(self) -> None:
        """Do everything once."""
        lost = self.searches.sweep() + self.jobs.sweep()
        if lost:
            log.warning("put back %d pieces of work whose worker was lost", lost)
        self._republish_searches()
        self._republish_chunks()
        self.signals.count()
        if self.refresher is not None and time.monotonic() - self._refreshed_at > _REFRESH_S:
            self._refreshed_at = time.monotonic()
            self.refresher.schedule()
        if time.monotonic() - self._trimmed_at > _TRIM_S:
            self._trimmed_at = time.monotonic()
            trim_files(self.settings, self.database, self.store)
        if time.monotonic() - self._cleaned_at > _HOUSEKEEPING_S:
            self._cleaned_at = time.monotonic()
            self._clean()

    def _republish_searches(self) -> None:
        """Publish searches again whose message was lost, never more messages than searches wait."""
        overdue = self.searches.list_overdue(self.settings.sweep.ring_after_s, _MAX_SEARCHES)
        queued = self._queue_length(Lane.SEARCH) if overdue else None
        if queued is None:
            return
        missing = max(self.searches.count_waiting() - queued, 0)
        answer = TaskName.ANSWER_SEARCH
        published = [search for search in overdue[:missing] if self.publisher.publish(answer, search)]
        if published:
            self.searches.note_published(published)
            log.info("published %d searches again", len(published))

    def _republish_chunks(self) -> None:
        """Publish chunks again that wait although the queue has been empty for a while."""
        chunks = self.jobs.list_overdue(_MAX_JOBS)
        if not chunks or self._queue_length(Lane.CATALOGUE) != 0:
            self._chunks_idle_since = None
            return
        now = time.monotonic()
        if self._chunks_idle_since is None:
            self._chunks_idle_since = now
        if now - self._chunks_idle_since >= self.settings.sweep.ring_after_s:
            published = publish_chunks(self.publisher, self.database, chunks[:_MAX_JOBS])
            log.info("published %d chunks again", len(published))
            self._chunks_idle_since = None

    def _queue_length(self, lane: Lane) -> int | None:
        """Count the messages in a queue; None while the broker is away, which takes none then."""
        try:
            return self._queues.read(lane)
        except (redis.RedisError, OSError) as error:
            log.warning("broker away: %s", type(error).__name__)
            return None

    def _clean(self) -> None:
        gone = self.searches.delete_expired() + self.webhooks.delete_expired()
        self.signals.delete_expired()
        Presence(self.database).delete_expired()
        ttl_s = self.settings.search.query_image_ttl_s
        for key in unused_query_images(self.database, self.store.older_than("queries", ttl_s), ttl_s):
            self.store.delete(key, "queries")
            gone += 1
        gone += forget_deleted_products(self.database)
        gone += self.feedback.delete_expired(self.settings.feedback.keep_s)
        for key in self.feedback.unused_photos(self.store.older_than(PHOTOS, 3600.0)):
            self.store.delete(key, PHOTOS)
            gone += 1
        uploads = self.store.older_than("imports", 3600.0)
        for name in expired_imports(self.database, uploads, self.settings.jobs.keep_import_s):
            self.store.delete(name, "imports")
            gone += 1
        self.store.sweep_temporary(3600.0)
        gone += self.pictures.sweep(self._next_shards(), _MOST_PICTURES)
        if gone:
            log.info("deleted %d expired searches, photos, imports, and pictures of no product", gone)

    def _next_shards(self) -> list[str]:
        """Where old pictures are looked for this time: in an hour and a half everywhere."""
        begin, self._shard = self._shard, (self._shard + _SHARDS) % len(SHARDS)
        return [SHARDS[(begin + step) % len(SHARDS)] for step in range(_SHARDS)]


def build_sweeper(settings: Settings) -> Sweeper:
    database = open_database(settings)
    limit, jobs = settings.search.max_attempts, settings.jobs
    store = open_image_store(settings)
    return Sweeper(
        settings=settings,
        database=database,
        store=store,
        searches=SearchQueue(database, "maintenance", settings.search.lease_s, limit),
        jobs=JobQueue(database, "maintenance", jobs.lease_s, limit, jobs.window),
        publisher=TaskPublisher(settings.redis_url),
        webhooks=WebhookSender(database, settings.webhooks.allow_private, settings.webhooks.timeout_s),
        pictures=open_picture_sweeper(settings, database, store),
        signals=SearchMetricsRepository(database),
        feedback=FeedbackRepository(database),
        prober=Prober(database, settings.search.probe_rows),
        refresher=_refresher(settings, database),
    )


def _refresher(settings: Settings, database: Database) -> CalibrationScheduler | None:
    wanted = settings.calibration
    return (
        CalibrationScheduler(database, wanted.least_products, wanted.changed_share) if wanted.auto else None
    )


def main() -> None:
    settings = get_settings()
    configure_logging(settings.log.level, settings.log.format, "maintenance")
    secure_data_folder(settings.data_dir)
    try:
        open_migrated_database(settings).close()
    except DatabaseUnavailable as error:
        log.warning("the schema is not checked: %s", error.message)
    except Misconfigured as error:
        raise SystemExit(f"The maintenance process cannot start: {error.message}") from error
    sweeper = build_sweeper(settings)
    stop = threading.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: stop.set())
    name = f"maintenance@{socket.gethostname()}"
    beating = Presence(sweeper.database).start_heartbeat(name, "maintenance", dict)
    sending = threading.Thread(target=sweeper.webhooks.run, args=(stop,), name="webhooks", daemon=True)
    sending.start()
    probing = threading.Thread(target=sweeper.prober.run, args=(stop,), name="probes", daemon=True)
    probing.start()
    pulse = LoopHeartbeat(health_file(settings.data_dir, name))
    touching = Periodic("health", TOUCH_INTERVAL_S, pulse.report, starts_now=True).start()
    while not stop.wait(settings.sweep.interval_s):
        pulse.turn()
        try:
            sweeper.sweep()
        except VitrineError as error:
            log.warning("sweep put off: %s", error.message)
    touching.stop()
    # What is on its way ends by its own deadline.
    sending.join(settings.webhooks.timeout_s)
    beating.stop()
    Presence(sweeper.database).remove(name)


if __name__ == "__main__":
    main()
