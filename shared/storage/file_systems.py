"""Folders and S3 as fsspec file systems: its only importer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import fsspec

#: Read ahead in an S3 object that is opened for reading anywhere in it: pictures are small.
BLOCK_BYTES: Final = 1 << 20
_S3_OPTIONS: Final = {
    "use_listings_cache": False,
    # Each process and thread pool owns its connections; shared ones do not survive a fork.
    "skip_instance_cache": True,
    "config_kwargs": {"connect_timeout": 3, "read_timeout": 15, "retries": {"total_max_attempts": 1}},
}


@dataclass(frozen=True)
class S3Access:
    """How to reach S3.

    Attributes:
        endpoint_url: address of an S3-compatible server.
        key: access key; None leaves the search for credentials to the S3 client.
        secret: secret key.
    """

    endpoint_url: str | None = None
    key: str | None = None
    secret: str | None = None


def local_files() -> Any:
    """The files of this machine."""
    return fsspec.filesystem("file")


def s3_files(access: S3Access) -> Any:
    """The objects that ``access`` reaches. Make it in the process that uses it, not before a fork."""
    files = fsspec.filesystem(
        "s3", endpoint_url=access.endpoint_url, key=access.key, secret=access.secret, **_S3_OPTIONS
    )
    # s3fs would try five times: longer than anybody waits, and our callers try again too.
    files.retries = 2
    return files


def written_at(info: dict[str, Any]) -> float:
    """Return when a file was written, seconds since 1970, from what its file system says of it."""
    if "mtime" in info:
        return float(info["mtime"])
    return float(info["LastModified"].timestamp())
