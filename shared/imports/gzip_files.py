"""Read manifests that are packed with gzip, within a limit on what they unpack to."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from typing import Any, BinaryIO, Final, cast

from shared.errors import InvalidManifest

MAGIC: Final = b"\x1f\x8b"
#: Maximum ratio of the unpacked to the packed size, and the size that a file may unpack to at any ratio.
_MAX_RATIO: Final = 200
_MIN_UNPACKED_BYTES: Final = 128 * 2**20


def unpack_gzip(file: BinaryIO, name: str) -> BinaryIO:
    """Return a file that begins with the mark of gzip unpacked, and any other file as it is.

    Args:
        name: of the file, for errors, which reading raises as InvalidManifest.
    """
    if file.seekable():
        head = file.read(len(MAGIC))
        file.seek(0)
    else:
        head = cast(io.BufferedReader, file).peek(len(MAGIC))[: len(MAGIC)]
    return io.BufferedReader(_Unpacked(file, name)) if head == MAGIC else file


def is_packed_tar(file: BinaryIO) -> bool:
    """Return whether a gzip file holds a tar archive; True for a damaged one, which its reader reports."""
    try:
        with gzip.GzipFile(fileobj=file) as plain:
            head = plain.read(tarfile.BLOCKSIZE)
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return not head.strip(b"\0")
    except (OSError, zlib.error, EOFError, ValueError):
        return True
    return True


class _Counted:
    """Counts the bytes that are read of a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.count += len(data)
        return data


class _Unpacked(io.RawIOBase):
    """The content of a gzip file, which is unpacked while it is read."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._packed = _Counted(file)
        self._plain = gzip.GzipFile(fileobj=cast(Any, self._packed))
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._plain.read(len(buffer))
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise InvalidManifest(f"{self._name} is a damaged gzip file: pack it again.") from error
        self._size += len(data)
        if self._size > _MAX_RATIO * self._packed.count + _MIN_UNPACKED_BYTES:
            raise InvalidManifest(f"{self._name} unpacks to over {_MAX_RATIO} times its size: refused.")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
