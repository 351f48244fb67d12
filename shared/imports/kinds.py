"""What an import may be: by media type, by file ending, by address."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath

#: Media type of an upload -> the ending under which it is stored, which says how it is read.
UPLOADS = {
    "application/zip": "zip",
    "application/x-tar": "tar",
    "application/gzip": "tgz",
    "application/zstd": "tzst",
    "text/csv": "csv",
    "application/x-ndjson": "jsonl",
    "application/vnd.apache.parquet": "parquet",
}
MANIFEST_SUFFIXES = (".csv", ".jsonl", ".parquet")
_ARCHIVE_ENDINGS = {
    ".zip": "zip",
    ".tar": "tar",
    ".tar.gz": "tgz",
    ".tgz": "tgz",
    ".tar.zst": "tzst",
    ".tzst": "tzst",
}
S3 = "s3://"


def is_manifest(name: str) -> bool:
    """Whether a file of this name is a manifest."""
    return name.lower().endswith(MANIFEST_SUFFIXES)


def is_parquet(name: str) -> bool:
    """Whether a file of this name is a Parquet manifest."""
    return name.lower().endswith(".parquet")


def archive_ending(name: str) -> str | None:
    """Return ``zip``, ``tar``, ``tgz`` or ``tzst`` for the name of an archive, None for another name."""
    for suffix, ending in _ARCHIVE_ENDINGS.items():
        if name.lower().endswith(suffix):
            return ending
    return None


def media_type(name: str) -> str | None:
    """Return the media type under which a file of this name is uploaded, None if it cannot be."""
    ending = archive_ending(name) or (PurePosixPath(name).suffix.lower()[1:] if is_manifest(name) else None)
    return next((media for media, known in UPLOADS.items() if known == ending), None)


def is_under_s3_roots(address: str, roots: tuple[str, ...]) -> bool:
    """Whether an ``s3://`` address lies under one of the roots: a sibling that begins alike does not."""
    parts = address.removeprefix(S3).rstrip("/").split("/")
    plain = address.startswith(S3) and "\0" not in address and not {"", ".", ".."} & set(parts)
    tops = [root.rstrip("/") for root in roots if root.startswith(S3)]
    return plain and any(address.rstrip("/") == top or address.startswith(top + "/") for top in tops)


def derived_name_prefix(job_id: str) -> str:
    """Return what the names of the files begin with that a job made of its source, in the image store.

    They may go when the job may not go on any more.
    """
    return hashlib.sha256(job_id.encode()).hexdigest()
