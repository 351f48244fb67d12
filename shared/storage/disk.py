"""Write files atomically and durably, refuse work on a nearly full disk, and translate storage errors."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from shared.errors import StorageUnavailable, VitrineError


class DiskGuard:
    """Refuses work while a disk is nearly full; broker, database and index may be on the same disk.

    Args:
        store_folder: of the image store; None for a bucket.
        data_dir: the data folder, whose database needs space for every row; it may be missing.
        min_free_bytes: low-water mark.
    """

    def __init__(self, store_folder: Path | None, data_dir: Path, min_free_bytes: int) -> None:
        self._store_folder = store_folder
        self._data_dir = data_dir
        self._min_free_bytes = min_free_bytes

    def require_space(self) -> None:
        """Check the disks with one system call each.

        Raises:
            StorageUnavailable: one of them is below the low-water mark, or does not answer.
        """
        folders = [] if self._store_folder is None else [self._store_folder]
        if self._data_dir.is_dir():
            folders.append(self._data_dir)
        for folder in folders:
            with translate_storage_errors("measure the image store"):
                free_bytes = shutil.disk_usage(folder).free
            if free_bytes < self._min_free_bytes:
                raise StorageUnavailable(
                    f"The disk is nearly full: {free_bytes / 1e6:,.0f} MB are free, and the minimum is "
                    f"{self._min_free_bytes / 1e6:,.0f} MB (VITRINE_IMAGES__MIN_FREE_BYTES). Nothing was "
                    "accepted: free some space."
                )


def write_durably(files: Mapping[Path, bytes], temporary: Path) -> None:
    """Write each file atomically, and sync all to disk.

    Each step is done for all files before the next one, because the first fsync also writes the metadata of
    the other files, which is most of the cost.
    """
    drafts = {path: temporary / secrets.token_hex(16) for path in files}
    opened: list[int] = []
    try:
        for path, data in files.items():
            opened.append(os.open(drafts[path], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
            _write(opened[-1], data)
        for handle in opened:
            os.fsync(handle)
        move_durably({draft: path for path, draft in drafts.items()})
    except BaseException:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
        raise
    finally:
        for handle in opened:
            os.close(handle)


def move_durably(names: Mapping[Path, Path]) -> None:
    """Rename synced files to their final names, create their folders, and sync the folders."""
    folders = {path.parent for path in names.values()}
    changed = set(folders)
    for folder in folders:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            # The parents of new folders have new entries, which must be synced too.
            changed.update((folder.parent, folder.parent.parent))
    for draft, path in names.items():
        draft.replace(path)
    for folder in changed:
        _sync_folder(folder)


def _write(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def translate_storage_errors(what: str) -> Iterator[None]:
    """Convert the exceptions of a file system or S3 client to our errors."""
    try:
        yield
    except VitrineError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageUnavailable(
                "The image store's disk is full: free some space or move the store."
            ) from error
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise StorageUnavailable(f"Cannot {what}: the image store reports {reason!r}.") from error
    except Exception as error:
        # The connection errors of botocore, aiohttp and asyncio share no base class.
        raise StorageUnavailable(f"Cannot {what}: the image store does not answer.") from error
