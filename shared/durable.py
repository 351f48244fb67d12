"""Files that are written whole or not at all, and storage faults told in our own errors."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import StorageUnavailable, VitrineError


def write_durably(path: Path, data: bytes, temporary: Path) -> None:
    """Write a file whole or not at all, and be sure that it survives a power cut."""
    draft = temporary / secrets.token_hex(16)
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        move_durably(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def move_durably(draft: Path, path: Path) -> None:
    """Give a file that is on disk its final name, and make its folders; both survive a power cut."""
    folder = path.parent
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        # New folders are entries of their parents, which must reach the disk too.
        _sync_folder(folder.parent)
        _sync_folder(folder.parent.parent)
    draft.replace(path)
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn whatever a file system or the S3 client raises into one of our errors."""
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
        raise StorageUnavailable(f"Cannot {what}: the image store says {reason!r}.") from error
    except Exception as error:
        # botocore, aiohttp and asyncio share no base class for "the server does not answer".
        raise StorageUnavailable(f"Cannot {what}: the image store does not answer.") from error
