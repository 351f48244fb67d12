"""Small imports for tests."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from typing import Literal

from shared.imports.archives import ArchiveSource, Caps, index_archive
from tests import builders


def pictures(count: int, first: int = 0) -> dict[str, bytes]:
    """Return ``p<n>.jpg`` and its bytes, each picture another one."""
    return {f"p{n}.jpg": builders.jpeg(seed=n, width=120, height=96) for n in range(first, first + count)}


def archive(files: Mapping[str, bytes | str], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip file."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return packed.getvalue()


def tar(files: Mapping[str, bytes | str], compression: Literal["", "gz"] = "") -> bytes:
    """Return a tar file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz" if compression else "w:") as file:
        for name, data in files.items():
            content = data.encode() if isinstance(data, str) else data
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def opened(packed: bytes, ending: str = "zip", caps: Caps | None = None) -> ArchiveSource:
    """Return an archive as the worker opens it."""
    file = io.BytesIO(packed)
    return ArchiveSource(file, index_archive(file, ending, caps or Caps()))
