"""Sources of import files: a folder, a single manifest, or none."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from shared.errors import ImageMissing, InvalidManifest


class Source(Protocol):
    """Files of a manifest and its images. Names are relative, with forward slashes."""

    def names(self) -> Iterator[str]:
        """Yield the names of all files by depth, otherwise in any order."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Open a file; raise ImageMissing if it does not exist or is outside the source."""
        ...

    @property
    def manifest(self) -> str | None:
        """Name of the manifest, if it is known."""
        ...


@dataclass(frozen=True)
class FolderSource:
    """A folder. Files outside it are never opened, also not through links."""

    root: Path
    manifest: str | None = None

    def names(self) -> Iterator[str]:
        level = [""]
        while level:
            deeper: list[str] = []
            for folder in level:
                for entry in self._entries(folder):
                    if entry.is_dir(follow_symlinks=False):
                        deeper.append(f"{folder}{entry.name}/")
                    elif _is_file(entry):
                        yield folder + entry.name
            level = deeper

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        try:
            # Neither sorted nor collected: a folder may have millions of pictures.
            with os.scandir(self.root / folder) as entries:
                yield from entries
        except OSError as error:
            raise InvalidManifest(
                f"The folder {folder!r} of the import cannot be read: {error.strerror}."
            ) from error

    def open(self, name: str) -> BinaryIO:
        if "\0" in name or "\\" in name:
            raise ImageMissing(f"{name!r} is not a file name.")
        try:
            path = (self.root / name).resolve(strict=True)
            if path.is_relative_to(self.root.resolve()):
                return open_regular(path)
        except (OSError, RuntimeError) as error:
            raise ImageMissing(f"There is no file {name!r} in the import.") from error
        raise ImageMissing(f"{name!r} is outside the folder of the import.")


@dataclass(frozen=True)
class ManifestAlone:
    """A manifest without image files: it names images by their addresses.

    Args:
        manifest: its name, whose ending selects the reader.
        opener: opens it.
    """

    manifest: str
    opener: Callable[[], BinaryIO]

    def names(self) -> Iterator[str]:
        yield self.manifest

    def open(self, name: str) -> BinaryIO:
        if name != self.manifest:
            raise ImageMissing(
                f"There is no file {name!r} in the import: only the manifest was sent. Send an archive of "
                "the manifest and its images, or name the images by their addresses."
            )
        return self.opener()


class NoSource:
    """No files, for jobs whose pictures are in the image store already."""

    manifest: str | None = None

    def names(self) -> Iterator[str]:
        return iter(())

    def open(self, name: str) -> BinaryIO:
        raise ImageMissing(f"This job has no files, so there is no {name!r}.")


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False  # a cyclic link


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file that is no link, because a pipe or device could block or never end.

    Raises:
        OSError: the file cannot be opened.
        ImageMissing: the path is no regular file.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise ImageMissing(f"{path.name!r} is not a file.")
    # The file may have been replaced since the check, so the opened one is checked again.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    file = os.fdopen(handle, "rb")
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        file.close()
        raise ImageMissing(f"{path.name!r} is not a file.")
    return file
