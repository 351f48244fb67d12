"""Compressed tar archives: unpacked piece by piece, under caps, for a plain tar can be read anywhere."""

from __future__ import annotations

import gzip
import importlib
import zlib
from collections.abc import Iterator
from contextlib import closing
from typing import BinaryIO

from shared.errors import InvalidManifest, Misconfigured

_PIECE_BYTES = 1 << 20
#: A small archive may unpack to this much, whatever the ratio: tar's own padding compresses well.
_LEAST_BYTES = 40 * 2**20
_UNREADABLE = "This is not a compressed tar that can be read: pack it again."


def unpacked(file: BinaryIO, ending: str, max_bytes: int, ratio: int) -> Iterator[bytes]:
    """Yield the plain tar in a compressed one.

    Args:
        file: its own reading errors are ours already, so that an OSError is one of the archive.
        ending: ``tgz`` or ``tzst``.
        max_bytes: of the plain tar.
        ratio: of the plain tar to the packed bytes that it came from.

    Raises:
        InvalidManifest: damaged, of another kind, or over a cap; what was yielded is to be deleted.
        Misconfigured: zstd is asked for where pyarrow is not installed.
    """
    total_bytes = 0
    try:
        with closing(_reader(file, ending)) as plain:
            while piece := plain.read(_PIECE_BYTES):
                total_bytes += len(piece)
                if total_bytes > max_bytes:
                    raise InvalidManifest(
                        f"The archive unpacks to over {max_bytes:,} bytes (VITRINE_JOBS__MAX_IMPORT_BYTES): "
                        "split it, or import a folder."
                    )
                if total_bytes > ratio * file.tell() + _LEAST_BYTES:
                    raise InvalidManifest(f"The archive unpacks to over {ratio} times its size: refused.")
                yield piece
    except (OSError, zlib.error, EOFError) as error:
        raise InvalidManifest(_UNREADABLE) from error
    if total_bytes == 0:
        raise InvalidManifest(_UNREADABLE)


def _reader(file: BinaryIO, ending: str) -> BinaryIO:
    if ending == "tgz":
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]  # it has all that is used
    try:
        arrow = importlib.import_module("shared.imports.arrow")
    except ModuleNotFoundError as error:
        raise Misconfigured(f"zstd is read by {error.name}, which is not installed here.") from error
    reader: BinaryIO = arrow.zstd_reader(file)
    return reader
