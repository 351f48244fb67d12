"""Restrict the data folder to its owner: mode 0700 for folders and 0600 for files.

It contains photos, webhook secrets and callers' addresses. Every entry point sets the umask before it opens
files, and the programs that it starts (Redis, Milvus) inherit it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from pathlib import Path

from shared.errors import Misconfigured, StorageUnavailable

log = logging.getLogger(__name__)

_PRIVATE_UMASK = 0o077
_OTHERS = 0o077
#: Secrets of docker-compose.yml, which containers read with other user ids; their folder is 0700.
_EXCLUDED = frozenset({"secrets"})


def set_private_umask() -> None:
    """Set the umask of this process and its children, so that new files are private to the owner."""
    os.umask(_PRIVATE_UMASK)


def secure_data_folder(folder: Path, *, whole: bool = False) -> int:
    """Create the data folder, or remove the permissions of other users from an existing one, and log it.

    Args:
        whole: check all files below, even if the folder itself is private already.

    Returns:
        Number of files and folders whose permissions were removed. Files of another user, such as the root
        of a mounted volume, are left unchanged with a warning.

    Raises:
        Misconfigured: the folder is shared, such as /tmp or a home folder.
        StorageUnavailable: the folder cannot be created.
    """
    set_private_umask()
    _refuse_shared(folder)
    make_data_folder(folder)
    was_open = bool(folder.stat().st_mode & _OTHERS)
    closed = _close(folder) if was_open else 0
    if was_open or whole:
        closed += _close_below(folder, top=True)
    if closed:
        log.warning("closed %d files and folders of %s to other users of this machine", closed, folder)
    return closed


def make_data_folder(folder: Path) -> None:
    """Create the data folder with mode 0700, or raise StorageUnavailable."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise not_writable(folder, error) from error


def not_writable(folder: Path, error: OSError) -> StorageUnavailable:
    """Return the error for a data folder that cannot be written."""
    return StorageUnavailable(
        f"The data folder {folder} cannot be written ({error.strerror}): "
        "set VITRINE_DATA_DIR to one that can."
    )


def _refuse_shared(folder: Path) -> None:
    real, shared = folder.resolve(), {Path("/")}
    with contextlib.suppress(RuntimeError):  # a container's user id may have no home
        shared.add(Path.home().resolve())
    if real in shared or (real.is_dir() and real.stat().st_mode & stat.S_ISVTX):
        raise Misconfigured(
            f"The data folder {folder} is used by others too: set VITRINE_DATA_DIR to a folder of its own."
        )


def _close_below(folder: Path | str, *, top: bool = False) -> int:
    closed = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink() or (top and entry.name in _EXCLUDED):
                continue
            try:
                if entry.stat(follow_symlinks=False).st_mode & _OTHERS:
                    closed += _close(Path(entry.path))
                if entry.is_dir(follow_symlinks=False):
                    closed += _close_below(entry.path)
            except FileNotFoundError:
                continue  # another process has removed it in the meantime
            except PermissionError:
                log.warning("%s cannot be read, and stays as it is", entry.path)
    return closed


def _close(path: Path) -> int:
    mode = stat.S_IMODE(path.lstat().st_mode)
    try:
        path.chmod(mode & ~_OTHERS)
    except PermissionError:
        log.warning("%s belongs to another user, and stays open to others", path)
        return 0
    return 1
