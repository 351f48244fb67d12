"""Store images by content hash in a folder or S3 bucket.

A file is named by the SHA-256 of its content, so that equal pictures are stored once, content can be
verified, and no untrusted text becomes a path::

    images/3f/3f2a...e1                a picture
    renditions/3f/3f2a...e1-640.webp   a file derived from it
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from shared.errors import BodyTooLarge, InvalidInput, NotFound, StorageUnavailable
from shared.storage.disk import move_durably, translate_storage_errors, write_durably
from shared.storage.file_systems import BLOCK_BYTES, S3Access, open_store, written_at

#: Folders of a kind, by the first two digits of a key.
SHARDS: Final = tuple(f"{number:02x}" for number in range(256))
#: Starts with a dot, so that it cannot be a kind.
TEMPORARY: Final = ".temporary"

#: Sizes of renditions: the longer side in pixels. A closed list, because each is stored.
RENDITIONS_PX: Final = (96, 160, 320, 640, 1280)

_KIND: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[0-9a-f]{64}-[a-z0-9]{1,16}\.[a-z0-9]{2,7}")

#: Age from which an existing image that is put again gets a new modification time, so that a sweep by age (of
#: an hour or more) never deletes what was just put.
REFRESH_AFTER_S: Final = 1_800
#: Free space below which a folder counts as full.
MIN_STORE_FREE_BYTES: Final = 50_000_000


class StoredFile(NamedTuple):
    """A stored file.

    Attributes:
        name: its key or derived name.
        size: bytes.
        written_at: seconds since 1970.
    """

    name: str
    size: int
    written_at: float


class ImageStore:
    """Content-addressed bytes in ``file:///folder`` or ``s3://bucket/prefix``.

    Safe for many threads and processes. Create it in the process that uses it, not before a fork.

    Args:
        url: URL of the store; a missing folder is created, a missing bucket is not.
        endpoint_url: address of an S3-compatible server, for s3 only.
        key: S3 access key; None lets the S3 client find credentials.
        secret: S3 secret key.

    Attributes:
        folder: of a store in a folder; None for a bucket.

    Raises:
        Misconfigured: the URL has another scheme or is incomplete.
        StorageUnavailable: the folder cannot be created.
    """

    def __init__(
        self, url: str, endpoint_url: str | None = None, key: str | None = None, secret: str | None = None
    ) -> None:
        self._files, self._root, self.folder = open_store(url, S3Access(endpoint_url, key, secret))
        if self.folder is not None:
            with translate_storage_errors("open the image store"):
                (self.folder / TEMPORARY).mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes, kind: str = "images") -> str:
        """Store ``data`` durably, and return its key, 64 hexadecimal digits.

        Putting the same bytes again writes nothing, but repairs a file of the wrong size.

        Raises:
            StorageUnavailable: not stored, for example because the disk is full; no partial file is left.
        """
        key = hashlib.sha256(data).hexdigest()
        self.put_all({key: data}, kind)
        return key

    def put_all(self, pieces: Mapping[str, bytes], kind: str = "images") -> None:
        """Store many files at once, with fewer waits for the disk than ``put``.

        Args:
            pieces: contents by their keys, which the caller computed.

        Raises:
            StorageUnavailable: not all are stored; no partial file is left.
        """
        with translate_storage_errors("store an image"):
            paths = {self._path(key, kind): data for key, data in pieces.items()}
            self._write_all({p: data for p, data in paths.items() if not self._has(p, len(data))})

    def put_named(self, name: str, data: bytes, kind: str) -> None:
        """Store a derived file, named ``<key>-<word>.<ending>``; it replaces an existing one.

        Raises:
            InvalidInput: the name has another form.
            StorageUnavailable: not stored.
        """
        path = f"{self._root}/{derived_path(name, kind)}"
        with translate_storage_errors("store an image"):
            self._write_all({path: data})

    def put_stream(self, name: str, pieces: Iterable[bytes], kind: str, max_bytes: int) -> int:
        """Store a file from a stream, under a name as in ``put_named``; return its size in bytes.

        Raises:
            BodyTooLarge: the stream has more than ``max_bytes``; nothing is stored.
            InvalidInput: the name has another form.
            StorageUnavailable: not stored.
        """
        path, size = f"{self._root}/{derived_path(name, kind)}", 0
        with self._draft() as draft:
            with translate_storage_errors("store an import"):
                file = draft.open("xb")
            with file:
                # Exceptions of the sender are not translated, because they are no errors of the store.
                for piece in pieces:
                    size += len(piece)
                    if size > max_bytes:
                        raise BodyTooLarge(f"The file is larger than {max_bytes:,} bytes: send it in parts.")
                    with translate_storage_errors("store an import"):
                        file.write(piece)
                with translate_storage_errors("store an import"):
                    file.flush()
                    os.fsync(file.fileno())
            with translate_storage_errors("store an import"):
                if self.folder is None:
                    self._files.put_file(str(draft), path)
                else:
                    move_durably({draft: Path(path)})
        return size

    @contextmanager
    def _draft(self) -> Iterator[Path]:
        """Yield the path of a temporary file, on the store's disk if it has one; delete it afterwards."""
        if self.folder is None:
            with tempfile.TemporaryDirectory() as folder:
                yield Path(folder) / "draft"
        else:
            draft = self.folder / TEMPORARY / secrets.token_hex(16)
            try:
                yield draft
            finally:
                draft.unlink(missing_ok=True)

    def open(self, name: str, kind: str) -> BinaryIO:
        """Open a stored file as a seekable file. Raises as ``get``."""
        path = self._path(name, kind)
        with self._present("open an import"):
            file: BinaryIO = self._files.open(path, "rb", block_size=BLOCK_BYTES)
        return file

    def get(self, key: str, kind: str = "images") -> bytes:
        """Return the content of a key or derived name.

        Raises:
            InvalidInput: neither a key nor a derived name.
            NotFound: no such file is stored.
            StorageUnavailable: the store does not answer, or the content does not match its key.
        """
        path = self._path(key, kind)
        with self._present("read an image"):
            data: bytes = self._files.cat_file(path)
        if is_key(key) and hashlib.sha256(data).hexdigest() != key:
            raise StorageUnavailable(f"The stored image {key[:12]} is damaged: restore it from a backup.")
        return data

    def exists(self, key: str, kind: str = "images") -> bool:
        """Return whether a key or derived name is stored. Raises as ``get``."""
        path = self._path(key, kind)
        with translate_storage_errors("find an image"):
            try:
                self._files.info(path)
            except FileNotFoundError:
                self._expect_reachable()
                return False
        return True

    def delete(self, key: str, kind: str = "images") -> None:
        """Delete a key or derived name; a missing one is no error. Raises as ``get``."""
        self.delete_all([key], kind)

    def delete_all(self, keys: Iterable[str], kind: str = "images") -> None:
        """Delete files, on S3 in one request; missing ones are no error. Raises as ``get``."""
        paths = [self._path(key, kind) for key in keys]
        with translate_storage_errors("delete an image"):
            if self.folder is None and len(paths) > 1:
                self._files.rm(paths)
                return
            for path in paths:
                with suppress(FileNotFoundError):
                    self._files.rm_file(path)

    def older_than(self, kind: str, age_s: float, shards: Iterable[str] = ()) -> Iterator[str]:
        """Yield the names of a kind that were put more than ``age_s`` seconds ago.

        An ``age_s`` below an hour may yield an image that was just put again: see ``REFRESH_AFTER_S``.

        Args:
            shards: only names that start with one of these two digits; empty for all.

        Raises:
            StorageUnavailable: the store does not answer.
        """
        before, folder = time.time() - age_s, f"{self._root}/{kind_path(kind)}"
        # Listed by shard, so that the names of thirty million images are not in memory at once.
        for shard in [f"{folder}/{s}" for s in shards] or [found["name"] for found in self._list(folder)]:
            for file in self._list(shard):
                if written_at(file) < before:
                    yield file["name"].rpartition("/")[2]

    def files(self, kind: str) -> Iterator[StoredFile]:
        """Yield all files of a kind with size and modification time.

        Raises:
            StorageUnavailable: the store does not answer.
        """
        for shard in self._list(f"{self._root}/{kind_path(kind)}"):
            for file in self._list(shard["name"]):
                yield StoredFile(file["name"].rpartition("/")[2], int(file["size"]), written_at(file))

    def sweep_temporary(self, older_than_s: float) -> int:
        """Delete partial files of killed writers; return their number.

        A bucket has none, because S3 shows complete objects only.
        """
        if self.folder is None:
            return 0
        swept, before = 0, time.time() - older_than_s
        with translate_storage_errors("sweep the image store"):
            for path in (self.folder / TEMPORARY).iterdir():
                # Another sweep, or the writer itself, may delete it first.
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime < before:
                        path.unlink()
                        swept += 1
        return swept

    def free_bytes(self) -> int | None:
        """Return the free bytes of a folder's disk; None for a bucket."""
        if self.folder is None:
            return None
        with translate_storage_errors("measure the image store"):
            return shutil.disk_usage(self.folder).free

    def healthy(self) -> bool:
        """Return whether images can be read and written now. Never raises."""
        try:
            free = self.free_bytes()
            if self.folder is None or free is None:
                return self._reachable()
            return os.access(self.folder / TEMPORARY, os.W_OK | os.X_OK) and free >= MIN_STORE_FREE_BYTES
        except Exception:
            # The exceptions of the S3 client share no base class, and each means that the store is unhealthy.
            return False

    def _list(self, path: str) -> list[dict[str, Any]]:
        with translate_storage_errors("list images"):
            try:
                found: list[dict[str, Any]] = self._files.ls(path, detail=True)
            except FileNotFoundError:
                self._expect_reachable()
                return []
        return found

    @contextmanager
    def _present(self, what: str) -> Iterator[None]:
        """Translate errors as ``translate_storage_errors``, and a missing file to NotFound."""
        with translate_storage_errors(what):
            try:
                yield
            except FileNotFoundError as error:
                self._expect_reachable()
                raise NotFound("There is no such image: it was deleted or never stored.") from error

    def _expect_reachable(self) -> None:
        """Raise StorageUnavailable if the store itself is missing: an unmounted disk is no deletion."""
        if not self._reachable():
            raise StorageUnavailable(
                "The folder or bucket of the image store is missing: mount or create it."
            )

    def _reachable(self) -> bool:
        if self.folder is None:
            return bool(self._files.exists(self._root.partition("/")[0]))
        return (self.folder / TEMPORARY).is_dir()

    def _path(self, key: str, kind: str) -> str:
        return f"{self._root}/{image_path(key, kind)}"

    def _has(self, path: str, size: int) -> bool:
        """Return whether a recent file of this size is stored; renew its modification time if it is old."""
        with suppress(FileNotFoundError):  # it may be deleted between the check and the update
            if self.folder is None:
                found = self._files.info(path)
                return found["size"] == size and time.time() - written_at(found) <= REFRESH_AFTER_S
            status = Path(path).stat()
            if status.st_size == size and time.time() - status.st_mtime > REFRESH_AFTER_S:
                os.utime(path)
            return status.st_size == size
        return False

    def _write_all(self, files: Mapping[str, bytes]) -> None:
        if self.folder is not None:
            write_durably({Path(path): data for path, data in files.items()}, self.folder / TEMPORARY)
            return
        for path, data in files.items():
            self._files.pipe_file(path, data)


def is_key(text: str) -> bool:
    """Return whether the text is a key: a SHA-256 of 64 hexadecimal digits."""
    return _KEY.fullmatch(text) is not None


def kind_path(kind: str) -> str:
    """Return the relative folder of a kind, or raise InvalidInput."""
    if not _KIND.fullmatch(kind):
        raise InvalidInput("A kind of image is a lower-case word.")
    return kind


def image_path(key: str, kind: str) -> str:
    """Return the relative path of a key or derived name, or raise InvalidInput."""
    if not (is_key(key) or _NAME.fullmatch(key)):
        raise InvalidInput("An image's key is 64 hexadecimal digits.")
    return f"{kind_path(kind)}/{key[:2]}/{key}"


def rendition_name(key: str, size_px: int) -> str:
    """Return the name of a rendition in one of ``RENDITIONS_PX``, kind ``renditions``."""
    return f"{key}-{size_px}.webp"


def derived_path(name: str, kind: str) -> str:
    """Return the relative path of a derived name, or raise InvalidInput."""
    if not _NAME.fullmatch(name):
        raise InvalidInput("A derived image is named by a key, a dash, a word and an ending.")
    return image_path(name, kind)
