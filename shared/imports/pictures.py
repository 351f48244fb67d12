"""Tells which files of a folder are pictures: by their endings, else by their first bytes."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

#: Endings of pictures that are read, those of Windows and of browsers that save JPEG among them.
PICTURE_SUFFIXES: Final = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".pjpeg", ".pjp", ".png", ".apng", ".webp"),
        *(".gif", ".avif", ".avifs", ".heic", ".heif", ".hif", ".tif", ".tiff", ".bmp", ".dib"),
    )
)


def has_picture_ending(name: str) -> bool:
    """Whether a file's name ends as a picture's does."""
    return PurePosixPath(name.replace("\\", "/")).suffix.lower() in PICTURE_SUFFIXES
