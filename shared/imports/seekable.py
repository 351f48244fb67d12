"""Base class of readable files of known length: seek and tell."""

from __future__ import annotations

import io


class SeekableFile(io.RawIOBase):
    """Maintains a position; a subclass reads the bytes there and advances it.

    Args:
        length: length in bytes.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        self._at = max(0, base + offset)
        return self._at

    def left(self) -> int:
        """Return the number of bytes from the position to the end."""
        return max(0, self._length - self._at)
