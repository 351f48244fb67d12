"""The sweeper: repairs what crashes and lost messages leave, and deletes what expired.

Every step is safe to repeat, so that any number of maintenance processes may run.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

from shared.broker.publisher import TaskPublisher
from shared.broker.redis_clients import QueueLengths
from shared.catalogue.automatic_calibration import CalibrationScheduler
from shared.database import Database
from shared.database.statistics import refresh_statistics
from shared.factories import open_database, open_image_store, open_picture_sweeper
from shared.jobs.queue import JobQueue
from shared.searches.feedback import FeedbackRepository
from shared.searches.metrics import SearchMetricsRepository
from shared.searches.queue import SearchQueue
from shared.settings import Settings
from shared.storage.image_store import ImageStore
from worker.maintenance.disk_budgets import trim_files
from worker.maintenance.housekeeper import Housekeeper
from worker.maintenance.probing import Prober
from worker.maintenance.republisher import Republisher
from worker.maintenance.webhook_sender import WebhookSender

log = logging.getLogger(__name__)

_HOUSEKEEPING_INTERVAL_S = 300.0
#: Interval at which the database's statistics are refreshed. A first import fills tables within it.
_STATISTICS_INTERVAL_S = 600.0
#: Interval at which disk budgets are enforced.
_TRIM_INTERVAL_S = 60.0
#: Interval at which catalogues are checked for a missing or stale calibration.
_CALIBRATION_CHECK_INTERVAL_S = 60.0


class Timer:
    """Is due at once, and again whenever ``interval_s`` seconds passed since it was last due."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._due_at = float("-inf")

    def is_due(self) -> bool:
        """Return whether the interval has passed, and restart it if so."""
        now = time.monotonic()
        if now < self._due_at:
            return False
        self._due_at = now + self._interval_s
        return True


@dataclass
class Sweeper:
    """Runs the steps of maintenance, each at its interval."""

    settings: Settings
    database: Database
    store: ImageStore
    searches: SearchQueue
    jobs: JobQueue
    republisher: Republisher
    metrics: SearchMetricsRepository
    housekeeper: Housekeeper
    webhooks: WebhookSender
    prober: Prober
    calibration_scheduler: CalibrationScheduler | None
    _calibration_timer: Timer = field(default_factory=lambda: Timer(_CALIBRATION_CHECK_INTERVAL_S))
    _trim_timer: Timer = field(default_factory=lambda: Timer(_TRIM_INTERVAL_S))
    _statistics_timer: Timer = field(default_factory=lambda: Timer(_STATISTICS_INTERVAL_S))
    _housekeeping_timer: Timer = field(default_factory=lambda: Timer(_HOUSEKEEPING_INTERVAL_S))

    def sweep(self) -> None:
        """Run every step that is due."""
        lost = self.searches.sweep() + self.jobs.sweep()
        if lost:
            log.warning("put back %d pieces of work whose worker was lost", lost)
        self.republisher.run()
        self.metrics.count()
        if self.calibration_scheduler is not None and self._calibration_timer.is_due():
            self.calibration_scheduler.schedule()
        if self._trim_timer.is_due():
            trim_files(self.settings, self.database, self.store)
        if self._statistics_timer.is_due():
            refresh_statistics(self.database)
        if self._housekeeping_timer.is_due():
            self.housekeeper.run()


def build_sweeper(settings: Settings) -> Sweeper:
    """Connect to database, broker and image store; return the sweeper with all its steps."""
    database, store = open_database(settings), open_image_store(settings)
    limit, jobs = settings.search.max_attempts, settings.jobs
    searches = SearchQueue(database, "maintenance", settings.search.lease_s, limit)
    job_queue = JobQueue(database, "maintenance", jobs.lease_s, limit)
    webhooks = WebhookSender(database, settings.webhooks.allow_private)
    metrics = SearchMetricsRepository(database)
    return Sweeper(
        settings=settings,
        database=database,
        store=store,
        searches=searches,
        jobs=job_queue,
        republisher=Republisher(
            database,
            searches,
            job_queue,
            TaskPublisher(settings.redis_url),
            QueueLengths(settings.redis_url),
            settings.sweep.republish_after_s,
        ),
        metrics=metrics,
        housekeeper=Housekeeper(
            settings=settings,
            database=database,
            store=store,
            searches=searches,
            webhooks=webhooks,
            metrics=metrics,
            feedback=FeedbackRepository(database),
            pictures=open_picture_sweeper(settings, database, store),
        ),
        webhooks=webhooks,
        prober=Prober(database),
        calibration_scheduler=_build_calibration_scheduler(settings, database),
    )


def _build_calibration_scheduler(settings: Settings, database: Database) -> CalibrationScheduler | None:
    config = settings.calibration
    if not config.auto:
        return None
    return CalibrationScheduler(database, config.min_products)
