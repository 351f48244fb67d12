"""Names and paths of files in the image store: keys, derived names and kinds.

No untrusted text becomes a path: a key is a SHA-256, and other names are validated here.
"""

from __future__ import annotations

import re
from typing import Final

from shared.errors import InvalidInput

#: Folders of a kind, by the first two digits of a key.
SHARDS: Final = tuple(f"{number:02x}" for number in range(256))
#: Starts with a dot, so that it cannot be a kind.
TEMPORARY: Final = ".temporary"

#: Sizes of renditions: the longer side in pixels. A closed list, because each is stored.
RENDITIONS_PX: Final = (96, 160, 320, 640, 1280)

_KIND: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[0-9a-f]{64}-[a-z0-9]{1,16}\.[a-z0-9]{2,7}")


def is_key(text: str) -> bool:
    """Return whether the text is a key: a SHA-256 of 64 hexadecimal digits."""
    return _KEY.fullmatch(text) is not None


def kind_path(kind: str) -> str:
    """Return the relative folder of a kind, or raise InvalidInput."""
    if not _KIND.fullmatch(kind):
        raise InvalidInput("A kind of image is a lower-case word.")
    return kind


def image_path(key: str, kind: str) -> str:
    """Return the relative path of a key or derived name, or raise InvalidInput."""
    if not (is_key(key) or _NAME.fullmatch(key)):
        raise InvalidInput("An image's key is 64 hexadecimal digits.")
    return f"{kind_path(kind)}/{key[:2]}/{key}"


def rendition_name(key: str, size_px: int) -> str:
    """Return the name of a rendition in one of ``RENDITIONS_PX``, kind ``renditions``."""
    return f"{key}-{size_px}.webp"


def derived_path(name: str, kind: str) -> str:
    """Return the relative path of a derived name, or raise InvalidInput."""
    if not _NAME.fullmatch(name):
        raise InvalidInput("A derived image is named by a key, a dash, a word and an ending.")
    return image_path(name, kind)
