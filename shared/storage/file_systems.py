"""Open folders and S3 as fsspec file systems; the only importer of fsspec."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

import fsspec

from shared.errors import Misconfigured

#: Read-ahead of a seekable S3 object; pictures are small.
BLOCK_BYTES: Final = 1 << 20
_S3_OPTIONS: Final = {
    "use_listings_cache": False,
    # Each process and thread pool has its own connections, because shared ones do not survive a fork.
    "skip_instance_cache": True,
    "config_kwargs": {"connect_timeout": 3, "read_timeout": 15, "retries": {"total_max_attempts": 1}},
}


@dataclass(frozen=True)
class S3Access:
    """How to reach S3.

    Attributes:
        endpoint_url: address of an S3-compatible server.
        key: access key; None lets the S3 client find credentials.
        secret: secret key.
    """

    endpoint_url: str | None = None
    key: str | None = None
    secret: str | None = None


class OpenedStore(NamedTuple):
    """The file system of a store, the path of its root in it, and the folder, which a bucket has not."""

    files: Any
    root: str
    folder: Path | None


def open_store(url: str, access: S3Access) -> OpenedStore:
    """Open ``file:///folder`` or ``s3://bucket/prefix``.

    Raises:
        Misconfigured: the URL has another scheme or is incomplete.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise Misconfigured(f"The address of the image store cannot be read: {error}.") from error
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and len(parts.path) > 1:
        folder = Path(unquote(parts.path))
        return OpenedStore(fsspec.filesystem("file"), str(folder), folder)
    if parts.scheme == "s3" and parts.netloc:
        return OpenedStore(s3_files(access), f"{parts.netloc}{parts.path}".rstrip("/"), None)
    raise Misconfigured(
        "The image store's address must be file:///folder or s3://bucket/prefix: set VITRINE_IMAGES__URL."
    )


def s3_files(access: S3Access) -> Any:
    """Return the file system of S3. Create it in the process that uses it, not before a fork."""
    files = fsspec.filesystem(
        "s3", endpoint_url=access.endpoint_url, key=access.key, secret=access.secret, **_S3_OPTIONS
    )
    # The default of five attempts exceeds the timeouts of callers, which retry themselves.
    files.retries = 2
    return files


def written_at(info: dict[str, Any]) -> float:
    """Return the modification time of a file in seconds since 1970, from its fsspec info."""
    if "mtime" in info:
        return float(info["mtime"])
    return float(info["LastModified"].timestamp())
