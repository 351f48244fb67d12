"""Where the files of an import come from: a folder, a manifest alone, nowhere; never from outside of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from shared.errors import ImageMissing, InvalidManifest


class Source(Protocol):
    """Where a manifest and its images come from. Names are relative, with forward slashes."""

    def names(self) -> Iterator[str]:
        """Yield all files, those at the top first and the deepest last; else in no order."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Raises ImageMissing when there is no such file, or it lies outside of the source."""
        ...

    @property
    def manifest(self) -> str | None:
        """The manifest's name, when the caller said which."""
        ...


@dataclass(frozen=True)
class FolderSource:
    """A folder. Nothing outside of it is ever opened, links included."""

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
            # Neither sorted nor gathered: a folder may hold millions of pictures.
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
        raise ImageMissing(f"{name!r} is not a file inside the folder of the import.")


@dataclass(frozen=True)
class ManifestAlone:
    """A manifest that came without files: its images are named by their addresses.

    Args:
        manifest: its name, which says how it is read.
        opener: opens it.
    """

    manifest: str
    opener: Callable[[], BinaryIO]

    def names(self) -> Iterator[str]:
        yield self.manifest

    def open(self, name: str) -> BinaryIO:
        if name != self.manifest:
            raise ImageMissing(
                f"There is no file {name!r} in the import: the manifest came alone. Send an archive of "
                "the manifest and its images, or name the images by their addresses."
            )
        return self.opener()


class NoSource:
    """Nothing: of jobs whose pictures are in the image store already."""

    manifest: str | None = None

    def names(self) -> Iterator[str]:
        return iter(())

    def open(self, name: str) -> BinaryIO:
        raise ImageMissing(f"This job brought no files, so there is no {name!r}.")


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False  # a link that leads round in a circle


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file that is no link; a pipe or a device would block or never end.

    Raises:
        OSError: it cannot be opened.
        ImageMissing: it is something else than a file.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise ImageMissing(f"{path.name!r} is not a file.")
    # What stands there now may be another thing than a moment ago.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    file = os.fdopen(handle, "rb")
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        file.close()
        raise ImageMissing(f"{path.name!r} is not a file.")
    return file
