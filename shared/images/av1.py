"""Read frame sizes from the AV1 bitstream of an AVIF file.

The container may state another size, to which libavif scales: an AVIF whose ``ispe`` box says 512 by 512 may
contain a frame of 16,000 by 16,000, which is decoded before it is scaled down. Therefore all sequence headers
of all items and image sequences are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from shared.errors import UndecodableImage

_SEQUENCE_HEADER: Final = 1
_FRAME_TYPES: Final = (3, 6)
#: Boxes that contain boxes, with the number of bytes before those.
_CONTAINERS: Final = {
    b"meta": 4, b"iprp": 0, b"ipco": 0, b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0,
    b"stsd": 8, b"av01": 78, b"iinf": 6,
}  # fmt: skip
_MAX_BOXES: Final = 10_000
_MAX_EXTENTS: Final = 10_000
_MAX_UNITS: Final = 10_000
#: Maximum size of a unit's header, and of the data before the first frame of a sample.
_HEADER_BYTES: Final = 256
_SAMPLE_BYTES: Final = 4096
_DAMAGED: Final = "The AVIF picture cannot be read, because it is damaged: export or take it again."


def coded_sizes(data: bytes) -> list[tuple[int, int]]:
    """Return width and height of every AV1 sequence header in an AVIF file, in pixels.

    Raises:
        UndecodableImage: the file has none or an invalid one, or a frame has another size than its sequence.
    """
    found: list[tuple[int, int]] = []
    units_left = _MAX_UNITS
    try:
        for stream in _streams(data):
            sizes, units = _sizes(stream, units_left)
            found += sizes
            units_left -= units
    except (IndexError, ValueError) as error:
        raise UndecodableImage(_DAMAGED) from error
    if not found:
        raise UndecodableImage(_DAMAGED)
    return found


def _boxes(data: bytes, start: int, end: int, depth: int = 0) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of the content of each box, recursively."""
    at, count = start, 0
    while at + 8 <= end:
        size, name, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        stop = end if size == 0 else at + size
        count += 1
        if stop > end or stop < at + head or count > _MAX_BOXES:
            raise ValueError("a box exceeds its parent")
        yield name, at + head, stop
        if name in _CONTAINERS and depth < len(_CONTAINERS):
            # Version 0 of iinf has a two-byte entry count, later versions have four bytes.
            own = _CONTAINERS[name] + (2 if name == b"iinf" and data[at + head] else 0)
            yield from _boxes(data, at + head + own, stop, depth + 1)
        at = stop


def _streams(data: bytes) -> Iterator[bytes]:
    """Yield all parts of the file that start with AV1 units: configurations, items, samples."""
    boxes = list(_boxes(data, 0, len(data)))
    idat = next((start for name, start, _ in boxes if name == b"idat"), 0)
    coded = {number for name, start, _ in boxes if name == b"infe" for number in _coded_item(data, start)}
    for name, start, end in boxes:
        if name == b"av1C":
            yield data[start + 4 : end]
        elif name == b"iloc":
            yield from _items(data, start, idat, coded)
        elif name in (b"stco", b"co64"):
            width = 4 if name == b"stco" else 8
            count = int.from_bytes(data[start + 4 : start + 8], "big")
            for n in range(min(count, _MAX_EXTENTS)):
                begin = int.from_bytes(data[start + 8 + n * width : start + 8 + (n + 1) * width], "big")
                yield data[begin : begin + _SAMPLE_BYTES]


def _coded_item(data: bytes, start: int) -> list[int]:
    """Return the id of an ``infe`` entry if its item is AV1, unlike Exif data or a grid."""
    width = 4 if data[start] == 3 else 2
    at = start + 4 + width + 2
    is_coded = data[start] >= 2 and data[at : at + 4] == b"av01"
    return [int.from_bytes(data[start + 4 : start + 4 + width], "big")] if is_coded else []


class _Reader:
    """Big-endian numbers of an ``iloc`` box."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    def number(self, width: int) -> int:
        self._at += width
        return int.from_bytes(self._data[self._at - width : self._at], "big")


def _items(data: bytes, start: int, idat: int, coded: set[int]) -> Iterator[bytes]:
    """Yield the content of each coded item by its ``iloc`` entry."""
    version, reader = data[start], _Reader(data, start + 4)
    sizes = reader.number(2)
    offset_width, length_width, base_width = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_width = sizes & 15 if version in (1, 2) else 0
    id_width = 4 if version == 2 else 2
    extents_left, bytes_left = _MAX_EXTENTS, 2 * len(data)
    for _ in range(reader.number(id_width)):
        item = reader.number(id_width)
        method = reader.number(2) & 15 if version in (1, 2) else 0
        reader.number(2)
        base, pieces = reader.number(base_width), []
        for _ in range(reader.number(2)):
            extents_left -= 1
            if extents_left < 0:
                raise ValueError("too many extents")
            reader.number(index_width)
            offset, length = reader.number(offset_width), reader.number(length_width)
            if item not in coded:
                continue
            begin = base + offset + (idat if method == 1 else 0)
            pieces.append(data[begin : begin + length] if length else data[begin:])
            bytes_left -= len(pieces[-1])
            if bytes_left < 0:
                raise ValueError("items overlap many times")
        yield b"".join(pieces)


def _sizes(stream: bytes, units_left: int) -> tuple[list[tuple[int, int]], int]:
    """Return the size in each sequence header, and the number of units read."""
    at, units, header, found = 0, 0, None, []
    while at < len(stream) and not stream[at] & 0x81:  # a forbidden and a reserved bit
        if units == units_left:
            raise ValueError("too many units")
        units += 1
        kind, has_extension, has_size = stream[at] >> 3 & 15, stream[at] >> 2 & 1, stream[at] >> 1 & 1
        at += 1 + has_extension
        size = len(stream) - at
        if has_size:
            size, at = _leb128(stream, at)
        unit = stream[at : at + min(size, _HEADER_BYTES)]
        if kind == _SEQUENCE_HEADER:
            header = SequenceHeader(unit)
            found.append((header.width, header.height))
        elif kind in _FRAME_TYPES and header is not None and header.is_overridden(unit):
            raise ValueError("a frame has another size than its sequence")
        at += size
    return found, units


def _leb128(stream: bytes, at: int) -> tuple[int, int]:
    value = 0
    for n in range(8):
        value |= (stream[at + n] & 0x7F) << 7 * n
        if not stream[at + n] & 0x80:
            return value, at + n + 1
    raise ValueError("a length without an end")


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = value << 1 | self._data[self._at >> 3] >> (7 - (self._at & 7)) & 1
            self._at += 1
        return value

    def uvlc(self) -> None:
        zeros = 0
        while not self.take(1):
            zeros += 1
        if zeros < 32:
            self.take(zeros)


class SequenceHeader:
    """The fields of a sequence header that determine frame sizes.

    Source: AV1 Bitstream & Decoding Process Specification, 5.5 and 5.9.2.
    """

    def __init__(self, unit: bytes) -> None:
        bits = _Bits(unit)
        bits.take(4)  # seq_profile, still_picture
        self._is_reduced = bits.take(1)
        self._point_info_bits = 0
        if self._is_reduced:
            bits.take(5)
        else:
            self._operating_points(bits)
        width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
        self.width, self.height = bits.take(width_bits) + 1, bits.take(height_bits) + 1
        self._id_bits = 0
        if not self._is_reduced and bits.take(1):
            delta = bits.take(4) + 2
            self._id_bits = bits.take(3) + delta + 1
        bits.take(3)  # superblocks, filter intra, intra edges
        self._screen_tools, self._integer_mv = 2, 2
        if not self._is_reduced:
            bits.take(4)
            if bits.take(1):
                bits.take(2)
            self._screen_tools = 2 if bits.take(1) else bits.take(1)
            if self._screen_tools:
                self._integer_mv = 2 if bits.take(1) else bits.take(1)

    def _operating_points(self, bits: _Bits) -> None:
        model, delay_bits, equal_interval = 0, 0, 0
        if bits.take(1):  # timing_info_present_flag
            bits.take(64)
            equal_interval = bits.take(1)
            if equal_interval:
                bits.uvlc()
            model = bits.take(1)
            if model:
                delay_bits = bits.take(5) + 1
                bits.take(32)
                bits.take(5)
                point_bits = bits.take(5) + 1
                self._point_info_bits = 0 if equal_interval else point_bits
        delays = bits.take(1)
        for _ in range(bits.take(5) + 1):
            bits.take(12)
            if bits.take(5) > 7:
                bits.take(1)
            if model and bits.take(1):
                bits.take(2 * delay_bits + 1)
            if delays and bits.take(1):
                bits.take(4)

    def is_overridden(self, frame: bytes) -> bool:
        """Return whether a frame overrides the size of its sequence."""
        if self._is_reduced:
            return False
        bits = _Bits(frame)
        if bits.take(1):  # show_existing_frame
            return False
        kind, is_shown = bits.take(2), bits.take(1)
        if is_shown and self._point_info_bits:
            bits.take(self._point_info_bits)
        if not is_shown:
            bits.take(1)
        if not (kind == 3 or (kind == 0 and is_shown)):
            bits.take(1)
        bits.take(1)
        tools = bits.take(1) if self._screen_tools == 2 else self._screen_tools
        if tools and self._integer_mv == 2:
            bits.take(1)
        bits.take(self._id_bits)
        return kind == 3 or bits.take(1) == 1
