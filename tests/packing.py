"""Small imports for tests."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

from tests import builders


def pictures(count: int, first: int = 0) -> dict[str, bytes]:
    """Return ``p<n>.jpg`` and its bytes, each picture another one."""
    return {f"p{n}.jpg": builders.jpeg(seed=n, width=120, height=96) for n in range(first, first + count)}


def archive(files: Mapping[str, bytes | str]) -> bytes:
    """Return a zip file."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    return packed.getvalue()
