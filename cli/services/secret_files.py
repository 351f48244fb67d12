"""Generate passwords once, and store them in private files."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from shared.errors import StorageUnavailable


def read_or_create_secret(path: Path) -> str:
    """Return the secret in a file, generated at the first call; letters and digits only.

    Raises:
        StorageUnavailable: the file can be neither read nor written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write_private(path, secrets.token_hex(16) + "\n")
        return path.read_text("ascii").strip()
    except OSError as error:
        raise StorageUnavailable(f"The password file {path} cannot be used: {error.strerror}.") from error


def write_private(path: Path, text: str) -> None:
    """Write a file atomically with mode 0600."""
    partial = path.with_name(path.name + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
