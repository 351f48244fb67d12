"""Unpack compressed tar archives to plain tar, which is seekable, within limits."""

from __future__ import annotations

import gzip
import importlib
import zlib
from collections.abc import Iterator
from contextlib import closing
from typing import BinaryIO

from shared.errors import InvalidManifest, Misconfigured

_PIECE_BYTES = 1 << 20
#: Size to which a small archive may unpack whatever its ratio, because the padding of tar compresses well.
_MIN_UNPACKED_BYTES = 40 * 2**20
_UNREADABLE = "This is not a compressed tar that can be read: pack it again."


def unpacked(file: BinaryIO, ending: str, max_bytes: int, ratio: int) -> Iterator[bytes]:
    """Yield the parts of the plain tar in a compressed tar.

    Args:
        file: the archive; read errors are translated already, so that an OSError means a damaged archive.
        ending: ``tgz`` or ``tzst``.
        max_bytes: maximum size of the plain tar.
        ratio: maximum ratio of the plain tar to the packed bytes.

    Raises:
        InvalidManifest: damaged, of another kind, or over a limit; the caller discards what was yielded.
        Misconfigured: zstd needs pyarrow, which is not installed.
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
                if total_bytes > ratio * file.tell() + _MIN_UNPACKED_BYTES:
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
