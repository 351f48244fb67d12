"""Read members of zip and tar archives, by an index that is small enough to cache between chunks."""

from __future__ import annotations

import io
import stat
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Final, cast

from shared.errors import ImageMissing, InvalidManifest
from shared.imports.kinds import LEFT_OUT, is_manifest, needs_seeking
from shared.imports.left_out import LeftOut, read_left_out
from shared.imports.seekable import SeekableFile
from shared.imports.sources import UnreadFile
from shared.imports.spelling import fold_name, zip_name, zip_spellings
from shared.imports.values import missing_picture
from shared.storage.disk import translate_storage_errors

#: Offset, packed size, unpacked size, CRC, method, flags. Packed as bytes, hundreds of thousands of entries
#: take a third of the memory of objects.
_ENTRY: Final = struct.Struct("<QQQIHH")
_IN_TAR: Final = 0xFFFF
#: Maximum size of the last record of a zip file, with the longest comment.
_ZIP_END_BYTES: Final = 22 + 65_535
_LOCAL_HEADER: Final = struct.Struct("<4s22xHH")
#: Bit of a member's flags that says that its name is UTF-8, and extra field that holds such a name.
_UTF8_FLAG: Final = 0x800
_UNICODE_FIELD: Final = 0x7075
#: Lengths of name, extra fields and comment in an entry of a zip's table of contents.
_DIRECTORY_ENTRY: Final = struct.Struct("<28xHHH12x")
_DIRECTORY_ENTRY_MARK: Final = b"PK\x01\x02"
#: What zipfile raises for hostile bytes.
_ZIP_ERRORS: Final = (
    zipfile.BadZipFile,
    OSError,
    ValueError,
    NotImplementedError,  # reason: zipfile raises it for versions and compressions that it does not support
    struct.error,
)


@dataclass(frozen=True)
class Caps:
    """Limits of an archive.

    Attributes:
        members: maximum number of members.
        directory_bytes: maximum size of a zip's table of contents, or of a tar member's header.
        image_bytes: maximum size of a member that is no manifest.
        parquet_bytes: maximum size of a compressed Parquet manifest, which is unpacked to disk.
        ratio: maximum ratio of the unpacked size to the packed size.
    """

    members: int = 500_000
    directory_bytes: int = 40 * 2**20
    image_bytes: int = 200_000_000
    parquet_bytes: int = 8 * 2**30
    ratio: int = 100


@dataclass(frozen=True)
class ArchiveIndex:
    """Entries of an archive's members by name, whose spelling ``fold_name`` has evened out."""

    entries: Mapping[str, bytes]
    caps: Caps


class ArchiveSource:
    """The members of an archive. Safe for many threads.

    Args:
        file: the archive, open and seekable.
        index: index of this archive.
    """

    manifest: str | None = None

    def __init__(self, file: BinaryIO, index: ArchiveIndex) -> None:
        self._file = file
        self._index = index
        self._lock = threading.Lock()

    def names(self) -> Iterator[str]:
        names = self._index.entries.keys() | {n for n, left in self._left_out.items() if not left.is_unknown}
        yield from sorted(names - {LEFT_OUT}, key=lambda name: name.count("/"))

    def unread(self) -> Iterator[UnreadFile]:
        """Yield what the program that packed the archive could not even name."""
        return (UnreadFile(n, left.message) for n, left in self._left_out.items() if left.is_unknown)

    @cached_property
    def _left_out(self) -> dict[str, LeftOut]:
        """Files that the program that packed the archive could not read, by their names."""
        if LEFT_OUT not in self._index.entries:
            return {}
        with self._open(LEFT_OUT) as file:
            return read_left_out(file)

    def open(self, name: str) -> BinaryIO:
        """Open a member, which is unpacked while it is read."""
        folded = str(PurePosixPath(fold_name(name)))
        if folded != LEFT_OUT:
            for each in (folded, *map(fold_name, zip_spellings(folded))):
                if each in self._index.entries:
                    return self._open(each)
            if (left := self._left_out.get(folded)) is not None:
                raise ImageMissing(left.message)
        raise ImageMissing(missing_picture(name))

    def _open(self, name: str) -> BinaryIO:
        offset, packed, size, crc, method, flags = _ENTRY.unpack(self._index.entries[name])
        if size > self._index.caps.image_bytes and not is_manifest(name):
            raise ImageMissing(f"{name!r} unpacks to {size:,} bytes, over the limit for images.")
        if method == _IN_TAR:
            return io.BufferedReader(Window(self._file, self._lock, offset, size))
        window = Window(self._file, self._lock, self._data_offset(name, offset), packed)
        if method == zipfile.ZIP_STORED and is_manifest(name):
            return io.BufferedReader(window)  # seekable, as Parquet and Excel require
        if needs_seeking(name) and size > self._index.caps.parquet_bytes:
            raise InvalidManifest(
                f"{name[:200]!r} unpacks to {size:,} bytes, over the limit (VITRINE_JOBS__MAX_IMPORT_BYTES): "
                "store it in the zip file without compression, or send it alone."
            )
        if method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ImageMissing(f"{name!r} is packed by an unsupported method: use deflate.")
        info = zipfile.ZipInfo(name)
        info.compress_size, info.file_size, info.CRC = packed, size, crc
        info.compress_type, info.flag_bits = method, flags
        return io.BufferedReader(_UnpackedMember(name, zipfile.ZipExtFile(cast(Any, window), "r", info)))

    def _data_offset(self, name: str, header: int) -> int:
        with self._lock, translate_storage_errors("read an import"):
            self._file.seek(header)
            head = self._file.read(_LOCAL_HEADER.size)
        if len(head) == _LOCAL_HEADER.size:
            mark, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(head)
            if mark == b"PK\x03\x04":
                return int(header + _LOCAL_HEADER.size + name_bytes + extra_bytes)
        raise ImageMissing(f"{name!r} cannot be unpacked: the archive is damaged.")


def index_archive(file: BinaryIO, ending: str, caps: Caps) -> ArchiveIndex:
    """Read the table of contents of an untrusted archive, without reading its members.

    Args:
        ending: ``zip`` or ``tar``.

    Raises:
        InvalidManifest: the archive cannot be read, exceeds a limit, or contains links, devices or names that
            lead out of it.
    """
    guarded = cast(BinaryIO, _Guarded(file, caps.directory_bytes))
    entries: dict[str, bytes] = {}
    file.seek(0)
    for number, (name, entry) in enumerate(_MEMBERS[ending](guarded, caps), start=1):
        if number > caps.members:
            raise _too_many(caps)
        entries[_check_name(name)] = entry
    return ArchiveIndex(entries, caps)


def _zip_members(file: BinaryIO, caps: Caps) -> Iterator[tuple[str, bytes]]:
    check_zip_directory(file, caps)
    try:
        archive = zipfile.ZipFile(cast(Any, _CountedDirectory(file, caps)))
    except _ZIP_ERRORS as error:
        raise InvalidManifest("This is not a zip file that can be read: pack it again.") from error
    packed_bytes, unpacked_bytes = file.seek(0, io.SEEK_END), 0
    for member in archive.infolist():
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _special_file(member.filename)
        if member.is_dir():
            continue
        if member.flag_bits & 1:
            raise InvalidManifest("The zip file has a password: pack it without one.")
        # Members may overlap, so that a small file unpacks to a large size: the sum is limited.
        unpacked_bytes += member.file_size
        if unpacked_bytes > caps.ratio * packed_bytes + caps.directory_bytes:
            raise InvalidManifest(f"The zip file unpacks to over {caps.ratio} times its size: refused.")
        yield (
            _member_name(member),
            _ENTRY.pack(
                member.header_offset,
                member.compress_size,
                member.file_size,
                member.CRC,
                member.compress_type,
                member.flag_bits,
            ),
        )


def _member_name(member: zipfile.ZipInfo) -> str:
    """Return the name of a member, from its Unicode field where it has one."""
    is_utf8 = bool(member.flag_bits & _UTF8_FLAG)
    extra = member.extra
    while not is_utf8 and len(extra) >= 4:
        kind, length = int.from_bytes(extra[:2], "little"), int.from_bytes(extra[2:4], "little")
        # Its first byte is a version, then comes the checksum of the other name.
        if kind == _UNICODE_FIELD and 5 < length <= len(extra) - 4:
            try:
                return extra[9 : 4 + length].decode()
            except UnicodeDecodeError:
                break
        extra = extra[4 + length :]
    return zip_name(member.filename, is_utf8)


def check_zip_directory(file: BinaryIO, caps: Caps) -> None:
    """Count the entries in the bytes of the table of contents, because parsing a million takes 20 s."""
    size = file.seek(0, io.SEEK_END)
    tail_at = max(0, size - _ZIP_END_BYTES)
    file.seek(tail_at)
    tail = file.read(_ZIP_END_BYTES)
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or end + 22 > len(tail):
        return  # zipfile raises the error
    stated = int.from_bytes(tail[end + 12 : end + 16], "little")
    length = min(stated, caps.directory_bytes, tail_at + end)
    file.seek(tail_at + end - length)
    if file.read(length).count(b"PK\x01\x02") > caps.members:
        raise InvalidManifest(
            f"The archive has over {caps.members:,} files: split it, or import a folder or an S3 prefix."
        )


def _tar_members(file: BinaryIO, caps: Caps) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            while (member := archive.next()) is not None:
                # tarfile would keep all members in memory.
                cast(Any, archive).members.clear()
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    raise _special_file(member.name)
                yield member.name, _ENTRY.pack(member.offset_data, member.size, member.size, 0, _IN_TAR, 0)
    except (tarfile.TarError, OSError, ValueError, EOFError, OverflowError, struct.error) as error:
        raise InvalidManifest("This is not a tar file that can be read: pack it again.") from error


_MEMBERS: Final[dict[str, Callable[[BinaryIO, Caps], Iterator[tuple[str, bytes]]]]] = {
    "zip": _zip_members,
    "tar": _tar_members,
}


def _check_name(name: str) -> str:
    # Programs on Windows write backslashes, which unzip takes for slashes too.
    path = PurePosixPath(fold_name(name))
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise InvalidManifest(f"The archive has a file {name[:200]!r}, which leads out of it: pack it again.")
    return str(path)


def _too_many(caps: Caps) -> InvalidManifest:
    return InvalidManifest(
        f"The archive has over {caps.members:,} files: split it, or import a folder or an S3 prefix."
    )


def _special_file(name: str) -> InvalidManifest:
    return InvalidManifest(
        f"{name[:200]!r} in the archive is a link or a device: pack the files themselves "
        "(tar with --dereference, zip without --symlinks)."
    )


class _Guarded:
    """A file with a limit for single reads, because tables and headers state their own length."""

    def __init__(self, file: BinaryIO, max_bytes: int) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self.seek, self.tell, self.seekable = file.seek, file.tell, lambda: True

    def read(self, size: int = -1) -> bytes:
        if size > self._max_bytes:
            raise InvalidManifest("The archive's table of contents is too long: split it.")
        return self._file.read(size if size >= 0 else self._max_bytes)


class _CountedDirectory:
    """A zip file that counts the members in the bytes of its table of contents.

    `zipfile` would build an object of each before any limit applies, which takes 11 s for 600,000 members. It
    reads the table at once, by its length, and ignores the number of members that the file states.
    """

    def __init__(self, file: BinaryIO, caps: Caps) -> None:
        self._file = file
        self._caps = caps
        self.seek, self.tell, self.seekable = file.seek, file.tell, lambda: True

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        position = 0
        for _ in range(self._caps.members + 1):
            if data[
                position : position + 4
            ] != _DIRECTORY_ENTRY_MARK or position + _DIRECTORY_ENTRY.size > len(data):
                return data
            position += _DIRECTORY_ENTRY.size + sum(_DIRECTORY_ENTRY.unpack_from(data, position))
        raise _too_many(self._caps)


class Window(SeekableFile):
    """A part of a file that several readers share."""

    def __init__(self, file: BinaryIO, lock: threading.Lock, start: int, length: int) -> None:
        super().__init__(length)
        self._file = file
        self._lock = lock
        self._start = start

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self.left())
        # An unavailable store is no error of the archive: the chunk is retried later.
        with self._lock, translate_storage_errors("read an import"):
            self._file.seek(self._start + self._at)
            data = self._file.read(length)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class _UnpackedMember(io.RawIOBase):
    """A member that is unpacked while it is read; decompression errors become ``ImageMissing``."""

    def __init__(self, name: str, member: zipfile.ZipExtFile) -> None:
        self._name = name
        self._member = member

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._member.read(len(buffer))
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise ImageMissing(f"{self._name!r} cannot be unpacked: {type(error).__name__}.") from error
        buffer[: len(data)] = data
        return len(data)
