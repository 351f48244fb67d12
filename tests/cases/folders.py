"""Folders of files, and what the server reads of them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cli.pack import packed_import
from shared.imports.archives import ArchiveSource, Caps, index_archive


def write(folder: Path, files: Mapping[str, bytes | str]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


@contextmanager
def sent(path: Path) -> Iterator[ArchiveSource]:
    """What the server reads of a folder that the client packed."""
    with packed_import(path, lambda done, total: None) as file:
        packed = io.BytesIO(file.read_bytes())
    yield ArchiveSource(packed, index_archive(packed, "zip", Caps()))
