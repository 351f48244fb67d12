"""Open folders and S3 as fsspec file systems; the only importer of fsspec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import fsspec

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


def local_files() -> Any:
    """Return the local file system."""
    return fsspec.filesystem("file")


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
