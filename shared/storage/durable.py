"""Write files atomically and durably, and translate storage errors."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from shared.errors import StorageUnavailable, VitrineError


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
