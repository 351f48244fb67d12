"""Delete rows and files that expired."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass

from shared.database import Database
from shared.health.presence import Presence
from shared.retention.expiry import (
    delete_dry_runs,
    expired_imports,
    forget_deleted_products,
    unused_query_images,
)
from shared.retention.job_rows import JobRowSweeper
from shared.retention.picture_sweep import PictureSweeper
from shared.searches.deletion import SearchDeletion
from shared.searches.feedback import PHOTOS, FeedbackRepository
from shared.searches.metrics import SearchMetricsRepository
from shared.searches.queue import SearchQueue
from shared.settings import Settings
from shared.storage.image_store import SHARDS, ImageStore
from worker.maintenance.webhook_sender import WebhookSender

log = logging.getLogger(__name__)

#: Picture folders, of 256, that one run goes through: all of them in an hour and a half.
_SHARDS_PER_RUN = 16
#: Maximum number of pictures that one run deletes.
_MAX_PICTURES = 5000
#: Maximum number of rows of ended jobs that one run deletes, which takes seconds: 28 million a day.
_MAX_JOB_ROWS = 100_000
#: Minimum age of a file without a row: files are stored before their row is committed.
_MIN_FILE_AGE_S = 3600.0


@dataclass
class Housekeeper:
    """Deletes what expired; any number may run at once."""

    settings: Settings
    database: Database
    store: ImageStore
    searches: SearchQueue
    webhooks: WebhookSender
    metrics: SearchMetricsRepository
    feedback: FeedbackRepository
    pictures: PictureSweeper

    def __post_init__(self) -> None:
        # A random start, so that no folder is left out where this process restarts often.
        self._shard = random.randrange(len(SHARDS))

    def run(self) -> None:
        """Delete expired rows, and files that no row needs."""
        deleted = self._delete_rows() + self._delete_files()
        deleted += self.pictures.sweep(self._next_shards(), _MAX_PICTURES)
        if deleted:
            log.info("deleted %d expired searches, photos, imports, and pictures of no product", deleted)

    def _delete_rows(self) -> int:
        self.metrics.delete_expired()
        job_rows = JobRowSweeper(self.database, self.settings.jobs.keep_rows_s).sweep(_MAX_JOB_ROWS)
        if job_rows:
            log.info("deleted %d items, chunks and failures of ended jobs", job_rows)
        Presence(self.database).delete_expired()
        return (
            self.searches.delete_expired()
            + self.webhooks.delete_expired()
            + SearchDeletion(self.database).forget_ids()
            + forget_deleted_products(self.database)
            + delete_dry_runs(self.database, self.settings.jobs.keep_import_s)
            + self.feedback.delete_expired(self.settings.feedback.keep_s)
        )

    def _delete_files(self) -> int:
        ttl_s, keep_s = self.settings.search.query_image_ttl_s, self.settings.jobs.keep_import_s
        old = self.store.older_than
        expired = {
            "queries": unused_query_images(self.database, old("queries", ttl_s), ttl_s),
            PHOTOS: self.feedback.unused_photos(old(PHOTOS, _MIN_FILE_AGE_S)),
            "imports": expired_imports(self.database, old("imports", _MIN_FILE_AGE_S), keep_s),
        }
        deleted = 0
        for kind, keys in expired.items():
            for key in keys:
                self.store.delete(key, kind)
                deleted += 1
        self.store.sweep_temporary(_MIN_FILE_AGE_S)
        return deleted

    def _next_shards(self) -> list[str]:
        """Return the picture folders of this run, and advance."""
        first, self._shard = self._shard, (self._shard + _SHARDS_PER_RUN) % len(SHARDS)
        return [SHARDS[(first + step) % len(SHARDS)] for step in range(_SHARDS_PER_RUN)]
