"""Check free disk space, and limit the total size of stored files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from shared.errors import StorageUnavailable
from shared.storage.image_store import ImageStore, StoredFile


class DiskGuard:
    """Refuses work while a disk is nearly full; broker, database and index may be on the same disk.

    Args:
        folder: the data folder, whose database needs space for every row.
        min_free_bytes: low-water mark.
    """

    def __init__(self, store: ImageStore, folder: Path, min_free_bytes: int) -> None:
        self._store = store
        self._folder = folder
        self._min_free_bytes = min_free_bytes

    def require_space(self) -> None:
        """Check the disks of image store and data folder with two system calls.

        Raises:
            StorageUnavailable: one of them is below the low-water mark.
        """
        free = [self._store.free_bytes()]
        if self._folder.is_dir():
            free.append(shutil.disk_usage(self._folder).free)
        for free_bytes in free:
            if free_bytes is not None and free_bytes < self._min_free_bytes:
                raise StorageUnavailable(
                    f"The disk is nearly full: {free_bytes / 1e6:,.0f} MB are free, and the minimum is "
                    f"{self._min_free_bytes / 1e6:,.0f} MB (VITRINE_IMAGES__MIN_FREE_BYTES). Nothing was "
                    "accepted: free some space."
                )


def trim(files: Sequence[StoredFile], max_bytes: int, delete: Callable[[str], bool]) -> int:
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
