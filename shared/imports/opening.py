"""Open the source of an import in the worker, for its plan and for each of its chunks."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from shared.errors import BodyTooLarge, ImageMissing, InvalidManifest, NotFound, Refused
from shared.imports.addresses import Fetcher, WithAddresses
from shared.imports.archives import ArchiveIndex, ArchiveSource, Caps, Window, index_archive
from shared.imports.gzip_files import is_packed_tar
from shared.imports.kinds import S3, archive_ending, derived_name_prefix, is_under_s3_roots
from shared.imports.s3 import open_s3, read_s3, s3_source
from shared.imports.sources import FolderSource, ManifestAlone, NoSource, Source, open_regular
from shared.imports.unpacking import unpacked
from shared.net.url_fetch import fetch, fetch_image
from shared.storage.file_systems import S3Access, s3_files
from shared.storage.image_store import ImageStore

#: Number of archive indexes that a process caches, because the chunks of a job follow each other.
_MAX_CACHED_INDEXES = 2
_MANIFEST_DEADLINE_S = 600.0
_PIECE_BYTES = 1 << 20
_BEAT_PIECES = 64
_KIND = "imports"
Alive = Callable[[], None]


@dataclass(frozen=True)
class ImportPermissions:
    """Sources that imports may read besides uploads, and their limits.

    Attributes:
        roots: folders and ``s3://`` prefixes.
        addresses: whether web addresses may be fetched.
        max_image_bytes: maximum size of an image.
        max_import_bytes: maximum size of a fetched manifest, and of an unpacked tar or Parquet manifest.
    """

    roots: tuple[str, ...]
    addresses: bool
    max_image_bytes: int
    max_import_bytes: int


class ImportSources:
    """Opens the sources of jobs. One per process; safe for many threads.

    Args:
        s3: credentials and endpoint for ``s3://`` addresses.
    """

    def __init__(
        self, store: ImageStore, s3: S3Access, allowed: ImportPermissions, caps: Caps | None = None
    ) -> None:
        self._store = store
        self._s3 = s3
        self._allowed = allowed
        self._caps = caps or Caps(parquet_bytes=allowed.max_import_bytes)
        self._fetcher = Fetcher(fetch_image, allowed.addresses, allowed.max_image_bytes)
        self._indexes: OrderedDict[str, ArchiveIndex] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def open(self, job_id: str, source: Mapping[str, Any], alive: Alive) -> Iterator[Source]:
        """Open the source of a job.

        Args:
            source: ``archive``, ``path``, ``s3`` or ``url``, as the web committed it; empty for no source.
            alive: called repeatedly during long steps; its exceptions abort them.

        Raises:
            InvalidManifest: the source cannot be read, or exceeds a limit.
            Refused: the source is not below the import roots, or may not be fetched.
            StorageUnavailable: the image store or S3 does not answer.
        """
        try:
            if "url" in source:
                yield self._behind_address(job_id, source["url"], alive)
                return
            with self._opened(job_id, source, alive) as inner:
                yield self._with_addresses(inner)
        except ImageMissing as error:
            raise InvalidManifest(error.message) from error

    def fetch_pause_s(self) -> float:
        """Return the seconds until every site that is skipped may be asked for pictures again."""
        return self._fetcher.pause_s()

    def _with_addresses(self, inner: Source, base: str | None = None) -> Source:
        return WithAddresses(inner, self._fetcher, self._read_s3, self._allowed.roots, base)

    def _read_s3(self, address: str) -> BinaryIO:
        return read_s3(self._s3_files, address, self._allowed.max_image_bytes)

    @cached_property
    def _s3_files(self) -> Any:
        return s3_files(self._s3)

    @contextmanager
    def _opened(self, job_id: str, source: Mapping[str, Any], alive: Alive) -> Iterator[Source]:
        if "archive" in source:
            name = source["archive"]
            with self._one_file(job_id, name, lambda: self._stored(name), alive) as inner:
                yield inner
        elif "path" in source:
            path = self._allowed_path(Path(source["path"]))
            if archive_ending(path.name):
                with self._one_file(job_id, path.name, lambda: _on_server(path), alive) as inner:
                    yield inner
            else:
                yield FolderSource(path) if path.is_dir() else FolderSource(path.parent, path.name)
        elif "s3" in source:
            address = source["s3"]
            if not is_under_s3_roots(address, self._allowed.roots):
                raise Refused(f"{address} is not under the import roots (VITRINE_JOBS__IMPORT_ROOTS).")
            if archive_ending(address):
                opener = lambda: open_s3(self._s3_files, address)  # noqa: E731  shorter than a function
                with self._one_file(job_id, address, opener, alive) as inner:
                    yield inner
            else:
                yield s3_source(self._s3_files, address, self._allowed.max_image_bytes)
        else:
            yield NoSource()

    def _allowed_path(self, path: Path) -> Path:
        """Resolve the path and check it again: links may have changed since the web checked it."""
        folders = [Path(root).resolve() for root in self._allowed.roots if not root.startswith(S3)]
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise InvalidManifest(f"{path} does not exist any more.") from error
        if not any(real.is_relative_to(folder) for folder in folders):
            raise Refused(f"{path} is not under the import roots (VITRINE_JOBS__IMPORT_ROOTS).")
        return real

    def _stored(self, name: str) -> BinaryIO:
        try:
            return self._store.open(name, _KIND)
        except NotFound as error:
            raise InvalidManifest("The uploaded import was deleted: upload it again.") from error

    @contextmanager
    def _one_file(
        self, job_id: str, name: str, opener: Callable[[], BinaryIO], alive: Alive
    ) -> Iterator[Source]:
        """Open a single file: an archive or a manifest.

        Args:
            name: its ending determines the kind of the file.
        """
        ending = archive_ending(name)
        if ending is None:
            yield ManifestAlone("manifest" + PurePosixPath(name).suffix, opener)
            return
        if ending == "tgz" and not self._store.exists(_unpacked_name(job_id), _KIND):
            with opener() as packed:
                is_tar = is_packed_tar(packed)
            if not is_tar:
                yield ManifestAlone("manifest", opener)
                return
        with self._plain(job_id, ending, opener, alive) as file:
            yield ArchiveSource(file, self._index(job_id, file, "zip" if ending == "zip" else "tar"))

    @contextmanager
    def _plain(
        self, job_id: str, ending: str, opener: Callable[[], BinaryIO], alive: Alive
    ) -> Iterator[BinaryIO]:
        """Open an archive that is seekable; a compressed tar is unpacked first, once per job."""
        if ending in ("zip", "tar"):
            with opener() as file:
                yield file
            return
        name = _unpacked_name(job_id)
        if not self._store.exists(name, _KIND):
            with opener() as packed:
                whole = io.BufferedReader(Window(packed, threading.Lock(), 0, packed.seek(0, io.SEEK_END)))
                most = self._allowed.max_import_bytes
                pieces = unpacked(whole, ending, most, self._caps.ratio)
                self._store.put_stream(name, _beating(pieces, alive), _KIND, most)
        with self._stored(name) as file:
            yield file

    def _index(self, job_id: str, file: BinaryIO, ending: str) -> ArchiveIndex:
        with self._lock:
            # The key includes the size, because a file on the server may be replaced during the import.
            key = f"{job_id}/{file.seek(0, io.SEEK_END)}"
            if key not in self._indexes:
                self._indexes[key] = index_archive(file, ending, self._caps)
                while len(self._indexes) > _MAX_CACHED_INDEXES:
                    self._indexes.popitem(last=False)
            self._indexes.move_to_end(key)
            return self._indexes[key]

    def _behind_address(self, job_id: str, address: str, alive: Alive) -> Source:
        """Return the source of a manifest at a web address, fetched once per job when it is first read."""
        if not self._allowed.addresses:
            raise Refused("URL import is off (VITRINE_WEB__URL_IMPORT): send the file itself.")
        name = f"{derived_name_prefix(job_id)}-fetched.feed"

        def opener() -> BinaryIO:
            if not self._store.exists(name, _KIND):
                self._fetch_to_store(address, name, alive)
            return self._stored(name)

        return self._with_addresses(ManifestAlone("manifest", opener), base=address)

    def _fetch_to_store(self, address: str, name: str, alive: Alive) -> None:
        most = self._allowed.max_import_bytes

        def store(pieces: Iterable[bytes]) -> None:
            self._store.put_stream(name, _beating(pieces, alive), _KIND, most)

        try:
            fetch(address, most, store, _MANIFEST_DEADLINE_S)
        except BodyTooLarge as error:
            raise InvalidManifest(
                f"The manifest is larger than {most:,} bytes (VITRINE_JOBS__MAX_IMPORT_BYTES): split it."
            ) from error


def _unpacked_name(job_id: str) -> str:
    """Return the name of the plain tar that is unpacked once per job."""
    return f"{derived_name_prefix(job_id)}-unpacked.tar"


def _on_server(path: Path) -> BinaryIO:
    try:
        return open_regular(path)
    except OSError as error:
        raise InvalidManifest(f"{path} cannot be read: {error.strerror}.") from error


def _beating(pieces: Iterable[bytes], alive: Alive) -> Iterator[bytes]:
    for number, piece in enumerate(pieces):
        if number % _BEAT_PIECES == 0:
            alive()
        yield piece
