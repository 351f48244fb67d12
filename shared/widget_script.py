"""The built widget script: its bytes, its version, and its integrity hash."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path


@cache
def read_widget(path: Path) -> bytes:
    """Return the script."""
    return path.read_bytes()


def widget_version(path: Path) -> str:
    """Return the version in the script's address: a hash of its bytes."""
    return hashlib.sha256(read_widget(path)).hexdigest()[:12]


def widget_integrity(path: Path) -> str:
    """Return the value of the script tag's ``integrity`` attribute."""
    return "sha384-" + base64.b64encode(hashlib.sha384(read_widget(path)).digest()).decode()
