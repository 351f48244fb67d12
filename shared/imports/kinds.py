"""Supported files of imports, by media type, file name and address."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath

#: File ending under which an upload is stored, by its media type; the ending selects the reader.
UPLOADS = {
    "application/zip": "zip",
    "application/x-tar": "tar",
    "application/gzip": "tgz",
    "application/zstd": "tzst",
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "text/plain": "txt",
    "application/x-ndjson": "jsonl",
    "application/jsonl": "jsonl",
    "application/xml": "xml",
    "text/xml": "xml",
    "application/rss+xml": "xml",
    "application/atom+xml": "xml",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.ms-excel": "csv",  # what browsers on Windows call CSV too
    "application/vnd.apache.parquet": "parquet",
}
#: Endings of files that may be manifests; their contents decide the format.
MANIFEST_SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json", ".xml", ".xlsx", ".parquet")
#: Endings under which other things than manifests are common too.
WEAK_SUFFIXES = (".txt", ".json", ".xml")
#: Member of an archive that lists the files which the packing program could not read.
LEFT_OUT = ".vitrine/left-out.jsonl"
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
    """Return whether a file of this name is a manifest."""
    return _unpacked_name(name).endswith(MANIFEST_SUFFIXES)


def is_doubtful_manifest(name: str) -> bool:
    """Return whether other files than manifests commonly have the ending of this name too."""
    return _unpacked_name(name).endswith(WEAK_SUFFIXES)


def _unpacked_name(name: str) -> str:
    """Return a name in lower case without the ending of gzip, in which any manifest may be packed."""
    return name.lower().removesuffix(".gz")


def needs_seeking(name: str) -> bool:
    """Whether a file of this name is a manifest that begins at its end: Parquet or Excel."""
    return name.lower().endswith((".parquet", ".xlsx"))


def archive_ending(name: str) -> str | None:
    """Return ``zip``, ``tar``, ``tgz`` or ``tzst`` for the name of an archive, None for other names."""
    for suffix, ending in _ARCHIVE_ENDINGS.items():
        if name.lower().endswith(suffix):
            return ending
    return None


def media_type(name: str) -> str | None:
    """Return the media type for uploading a file of this name, None for unsupported names."""
    ending = archive_ending(name) or (PurePosixPath(name).suffix.lower()[1:] if is_manifest(name) else None)
    ending = {"ndjson": "jsonl", "json": "jsonl", "gz": "tgz"}.get(ending or "", ending)
    return next((media for media, known in UPLOADS.items() if known == ending), None)


def is_under_s3_roots(address: str, roots: tuple[str, ...]) -> bool:
    """Return whether an ``s3://`` address is below one of the roots, compared by path components."""
    parts = address.removeprefix(S3).rstrip("/").split("/")
    plain = address.startswith(S3) and "\0" not in address and not {"", ".", ".."} & set(parts)
    tops = [root.rstrip("/") for root in roots if root.startswith(S3)]
    return plain and any(address.rstrip("/") == top or address.startswith(top + "/") for top in tops)


def derived_name_prefix(job_id: str) -> str:
    """Return the prefix of the names of files that a job derived from its source, in the image store.

    These files can be deleted when the job cannot be continued or retried.
    """
    return hashlib.sha256(job_id.encode()).hexdigest()
