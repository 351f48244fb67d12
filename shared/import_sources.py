"""Where the files of an import come from: a folder, a zip file, nowhere; never from outside of it."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from shared.errors import ImageMissing, InvalidManifest

_MAX_MEMBERS = 5_000_000


class Source(Protocol):
    """Where a manifest and its images come from. Names are relative, with forward slashes."""

    def names(self) -> Iterator[str]: ...

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
        for path in sorted(self.root.rglob("*")):
            if path.is_file():
                yield path.relative_to(self.root).as_posix()

    def open(self, name: str) -> BinaryIO:
        if "\0" in name or "\\" in name:
            raise ImageMissing(f"{name!r} is not a file name.")
        try:
            path = (self.root / name).resolve(strict=True)
            inside = path.is_relative_to(self.root.resolve())
            # A pipe or device would block or never end.
            if not inside or not stat.S_ISREG(path.stat().st_mode):
                raise ImageMissing(f"{name!r} is not a file inside the folder of the import.")
            return path.open("rb")
        except (OSError, RuntimeError) as error:
            raise ImageMissing(f"There is no file {name!r} in the import.") from error


class ArchiveSource:
    """A zip file.

    Raises:
        InvalidManifest: not a zip file, or one with absurdly many members.
    """

    manifest: str | None = None

    def __init__(self, file: BinaryIO, max_member_bytes: int = 200_000_000) -> None:
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            raise InvalidManifest("This is not a zip file that can be read: pack it again.") from error
        members = [m for m in self._zip.infolist() if not m.is_dir()]
        if len(members) > _MAX_MEMBERS:
            raise InvalidManifest(f"The zip file has over {_MAX_MEMBERS:,} files: split it.")
        self._members = {m.filename: m for m in members}
        self._max_member_bytes = max_member_bytes

    def names(self) -> Iterator[str]:
        yield from sorted(self._members)

    def open(self, name: str) -> BinaryIO:
        member = self._members.get(str(PurePosixPath(name)))
        if member is None:
            raise ImageMissing(f"There is no file {name!r} in the import.")
        # The declared size is checked against; zipfile stops reading at it.
        if member.file_size > self._max_member_bytes or member.file_size > 100 * max(
            member.compress_size, 1000
        ):
            raise ImageMissing(f"{name!r} unpacks to {member.file_size:,} bytes, which is not allowed.")
        try:
            return io.BytesIO(self._zip.read(member))
        except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, EOFError) as error:
            raise ImageMissing(f"{name!r} cannot be unpacked: {type(error).__name__}.") from error


class NoSource:
    """Nothing: of jobs whose pictures are in the image store already."""

    manifest: str | None = None

    def names(self) -> Iterator[str]:
        return iter(())

    def open(self, name: str) -> BinaryIO:
        raise ImageMissing(f"This job brought no files, so there is no {name!r}.")
