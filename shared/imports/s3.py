"""Read imports from S3, with the credentials and endpoint of the image store."""

from __future__ import annotations

import errno
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from shared.errors import ImageMissing, InvalidManifest, Refused, StorageUnavailable, VitrineError
from shared.imports.kinds import S3, is_manifest
from shared.storage.file_systems import BLOCK_BYTES

_PAGE_KEYS = 1000


class S3Source:
    """The objects under a prefix.

    Args:
        files: result of ``s3_files``.
        address: ``s3://bucket/prefix``.
        manifest: name of the manifest below it, if it is known.
        max_image_bytes: maximum size of an image; one byte more is read to detect larger ones.
    """

    def __init__(self, files: Any, address: str, manifest: str | None, max_image_bytes: int) -> None:
        self._files = files
        self._root = address.removeprefix(S3).rstrip("/")
        self.manifest = manifest
        self._max_image_bytes = max_image_bytes

    def names(self) -> Iterator[str]:
        bucket, _, prefix = self._root.partition("/")
        level = [f"{prefix}/" if prefix else ""]
        cut = len(level[0])
        while level:
            deeper: list[str] = []
            for folder in level:
                for page in self._pages(bucket, folder):
                    deeper += [part["Prefix"] for part in page.get("CommonPrefixes", ())]
                    keys = (item["Key"] for item in page.get("Contents", ()))
                    yield from (key[cut:] for key in keys if not key.endswith("/"))
            level = deeper

    def _pages(self, bucket: str, folder: str) -> Iterator[dict[str, Any]]:
        """List one level of a prefix in pages, because it may have millions of pictures."""
        more: dict[str, str] = {}
        while True:
            with s3_errors(f"{S3}{bucket}/{folder}"):
                page: dict[str, Any] = self._files.call_s3(
                    "list_objects_v2", Bucket=bucket, Prefix=folder, Delimiter="/", MaxKeys=_PAGE_KEYS, **more
                )
            yield page
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def open(self, name: str) -> BinaryIO:
        # S3 has no parent folders, but S3-compatible servers may resolve them.
        if "\0" in name or {"", ".", ".."} & set(name.split("/")):
            name = str(PurePosixPath(name))
            if name.startswith("/") or "\0" in name or ".." in name.split("/"):
                raise ImageMissing(f"{name!r} is not a name below the prefix of the import.")
        if is_manifest(name):
            return open_s3(self._files, f"{S3}{self._root}/{name}")
        return read_s3(self._files, f"{S3}{self._root}/{name}", self._max_image_bytes)


def open_s3(files: Any, address: str) -> BinaryIO:
    """Open an object as a seekable file. Raises as ``s3_errors``."""
    with s3_errors(address):
        file: BinaryIO = files.open(address.removeprefix(S3), "rb", block_size=BLOCK_BYTES)
    return file


def read_s3(files: Any, address: str, max_bytes: int) -> BinaryIO:
    """Read at most ``max_bytes + 1`` bytes of an object in one request. Raises as ``s3_errors``."""
    with s3_errors(address):
        path = address.removeprefix(S3)
        try:
            data: bytes = files.cat_file(path, start=0, end=max_bytes + 1)
        except OSError as error:
            # An empty object has no valid byte range.
            if error.errno != errno.EINVAL or files.info(path)["size"] > 0:
                raise
            data = b""
    return io.BytesIO(data)


@contextmanager
def s3_errors(address: str) -> Iterator[None]:
    """Convert the exceptions of the S3 client to our errors.

    Raises:
        ImageMissing: the object or bucket does not exist.
        Refused: the credentials do not permit reading it.
        StorageUnavailable: S3 does not answer.
    """
    try:
        yield
    except VitrineError:
        raise
    except FileNotFoundError as error:
        raise ImageMissing(f"{address} does not exist.") from error
    except PermissionError as error:
        raise Refused(
            f"The image store's S3 credentials do not permit reading {address} (VITRINE_IMAGES__S3_KEY)."
        ) from error
    except Exception as error:
        # The connection errors of botocore, aiohttp and asyncio share no base class.
        raise StorageUnavailable(f"Cannot read {address}: S3 does not answer.") from error


def s3_source(files: Any, address: str, max_image_bytes: int) -> S3Source:
    """Return the source of an address: a manifest with its folder, or a whole prefix.

    Raises:
        InvalidManifest: the address has no bucket.
    """
    folder, _, name = address.rpartition("/")
    if not is_manifest(name):
        return S3Source(files, address, None, max_image_bytes)
    if not folder.removeprefix(S3).strip("/"):
        raise InvalidManifest(f"{address} has no bucket: write s3://bucket/manifest.")
    return S3Source(files, folder, name, max_image_bytes)
