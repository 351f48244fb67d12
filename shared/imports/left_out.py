"""The list, within an archive, of files that the packing program could not read.

So the job lists them as failures, with their names, and a sync keeps their products.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO, Final

#: Of the whole list; what does not fit is summed up in its last line by the writer.
_MAX_BYTES: Final = 20_000_000
_MAX_CHARS: Final = 1_000


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Why a file was left out.

    Attributes:
        message: why, and what to do.
        is_unknown: whether nothing tells which product the file belongs to.
    """

    message: str
    is_unknown: bool = False


def write_left_out(files: Iterable[tuple[str, LeftOut]]) -> bytes:
    """Return the list as JSON Lines."""
    lines = (
        json.dumps({"name": name, "message": left.message, "is_unknown": left.is_unknown})
        for name, left in files
    )
    return "".join(line + "\n" for line in lines).encode()


def read_left_out(file: BinaryIO) -> dict[str, LeftOut]:
    """Return the files of a list by their names; lines that are none are passed over."""
    found: dict[str, LeftOut] = {}
    for line in file.read(_MAX_BYTES).splitlines():
        try:
            entry = json.loads(line)
            name, message = str(entry["name"]), str(entry["message"])
            is_unknown = entry.get("is_unknown") is True
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
        found[name[:_MAX_CHARS]] = LeftOut(message[:_MAX_CHARS], is_unknown)
    return found
