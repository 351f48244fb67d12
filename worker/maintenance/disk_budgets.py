"""Enforce disk budgets of temporary files: shoppers' photos, and uploads whose import failed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from shared.database import Database
from shared.retention.expiry import expired_imports, unused_query_images
from shared.settings import Settings
from shared.storage.image_store import ImageStore, StoredFile

log = logging.getLogger(__name__)

#: Minimum age of an upload that is deleted: uploads are stored before their job is committed.
_MIN_UPLOAD_AGE_S = 3600.0


def trim_files(settings: Settings, database: Database, store: ImageStore) -> None:
    """Delete the oldest photos and uploads over their budgets, except those that work in progress needs."""
    photos = trim_photos(database, store, settings.images.query_total_bytes)
    uploads = trim_uploads(database, store, settings.jobs.keep_import_bytes)
    if photos or uploads:
        log.warning("over their disk budgets: deleted %d query photos and %d uploads", photos, uploads)


def trim_photos(database: Database, store: ImageStore, max_bytes: int) -> int:
    """Delete the oldest query photos over ``max_bytes`` that no search waits for; return how many."""

    def delete(key: str) -> bool:
        unused = next(unused_query_images(database, [key]), None) is not None
        if unused:
            store.delete(key, "queries")
        return unused

    return _trim(list(store.files("queries")), max_bytes, delete)


def trim_uploads(database: Database, store: ImageStore, max_bytes: int) -> int:
    """Delete the oldest uploads over ``max_bytes`` whose job has ended; return how many."""
    files = list(store.files("imports"))
    old = {file.name for file in files if file.written_at < time.time() - _MIN_UPLOAD_AGE_S}

    def delete(name: str) -> bool:
        unused = name in old and next(expired_imports(database, [name], keep_s=0.0), None) is not None
        if unused:
            store.delete(name, "imports")
        return unused

    return _trim(files, max_bytes, delete)


def _trim(files: Sequence[StoredFile], max_bytes: int, delete: Callable[[str], bool]) -> int:
    """Delete the oldest files until the rest has at most ``max_bytes``; return the number of deleted files.

    Args:
        delete: deletes a file by its name and returns True, or returns False if the file is still needed.
    """
    total_bytes, deleted = sum(file.size for file in files), 0
    for file in sorted(files, key=lambda file: file.written_at):
        if total_bytes <= max_bytes:
            break
        if delete(file.name):
            total_bytes -= file.size
            deleted += 1
    return deleted
