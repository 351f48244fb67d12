"""Sources of import files: a folder, a single manifest, or none."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from shared.errors import ImageMissing, InvalidManifest
from shared.imports.spelling import printable_name, spellings
from shared.imports.values import missing_picture


@dataclass(frozen=True, slots=True)
class UnreadFile:
    """A file of a source that cannot be read, so that the product that it belongs to is not known.

    Attributes:
        name: in printable characters.
        message: why, and what to do.
    """

    name: str
    message: str


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
        return (name for name, message in self._walk() if message is None)

    def unread(self) -> Iterator[UnreadFile]:
        """Yield linked folders, which are not followed, and files whose names are no UTF-8."""
        return (UnreadFile(printable_name(name), message) for name, message in self._walk() if message)

    def _walk(self) -> Iterator[tuple[str, str | None]]:
        """Yield everything but folders, level by level, with the reason why it cannot even be named."""
        level = [""]
        while level:
            deeper: list[str] = []
            for folder in level:
                for entry in self._entries(folder):
                    name = folder + entry.name
                    if entry.is_dir(follow_symlinks=False) and _is_text(entry.name):
                        deeper.append(f"{name}/")
                    else:
                        yield name, _unreadable(entry, name)
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
        path = self._found(name)
        try:
            if path is not None and path.is_relative_to(self.root.resolve()):
                return open_regular(path)
        except (OSError, RuntimeError) as error:
            raise _not_opened(name, error) from error
        if path is None:
            raise ImageMissing(missing_picture(name))
        raise ImageMissing(
            f"{name!r} leads out of the folder of the import: copy it there, or import the folder that it "
            "lies in."
        )

    def _found(self, name: str) -> Path | None:
        """Return where a name leads, however it is spelt; None if nothing is there."""
        if "\0" in name:
            raise ImageMissing(f"{name!r} is not a file name.")
        for text in dict.fromkeys((name, name.replace("\\", "/"))):
            try:
                return (self.root / text).resolve(strict=True)
            except FileNotFoundError:
                if not text.isascii() and (path := self._spelt(text)) is not None:
                    return path
            except (OSError, RuntimeError) as error:
                raise _not_opened(name, error) from error
        return None

    def _spelt(self, name: str) -> Path | None:
        """Find a name part by part in each Unicode form: macOS writes another one than keyboards do."""
        path = self.root
        for part in name.split("/"):
            found = next((path / each for each in spellings(part) if (path / each).exists()), None)
            if found is None:
                return None
            path = found
        return path.resolve(strict=True)


def _not_opened(name: str, error: Exception) -> ImageMissing:
    if isinstance(error, PermissionError):
        return ImageMissing(
            f"{name!r} cannot be read: {error.strerror}. Give this user the right to read it, and import "
            "again."
        )
    if isinstance(error, RuntimeError) or (isinstance(error, OSError) and error.errno == errno.ELOOP):
        return ImageMissing(f"{name!r} is a link that leads to itself: copy the file there.")
    return ImageMissing(missing_picture(name))


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
                f"{missing_picture(name).removesuffix('.')}: only the manifest was sent. Send an archive of "
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


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unreadable(entry: os.DirEntry[str], name: str) -> str | None:
    if not _is_text(entry.name):
        return (
            f"The name of '{printable_name(name)}' is not UTF-8: rename it, for nothing tells which product "
            "it belongs to."
        )
    try:
        is_linked_folder = entry.is_dir()
    except OSError:
        return None  # a link that leads to itself, which opening it reports
    if is_linked_folder:
        return f"{name!r} is a link to a folder, which is not followed: copy the folder there."
    return None


def unread_files(source: Source) -> Iterator[UnreadFile]:
    """Yield the files that a source cannot even name; most sources have none."""
    unread = getattr(source, "unread", None)
    return iter(()) if unread is None else unread()


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
