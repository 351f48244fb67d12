"""Names of files as different systems write them: Unicode forms, slashes, and code pages of zip files."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Final

#: Code pages that zip programs write names in without saying which.
_CODE_PAGES: Final = (
    "cp437",
    "cp850",
    "cp1252",
    "cp1250",
    "cp852",
    "cp866",
    "cp1251",
    "cp932",
    "cp936",
    "cp949",
)
#: Files that systems leave next to others, by their names in small letters.
_SYSTEM_FILES: Final = frozenset(
    ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "$recycle.bin")
)


def fold_name(name: str) -> str:
    """Return a name by which all spellings of it are found: NFC, with forward slashes."""
    name = name.replace("\\", "/")
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def spellings(name: str) -> Iterator[str]:
    """Yield a name and its other Unicode forms, each once."""
    yield name
    if not name.isascii():
        for form in ("NFC", "NFD"):
            if (other := unicodedata.normalize(form, name)) != name:
                yield other


def printable_name(name: str) -> str:
    """Return a name with the bytes that are no UTF-8 as ``\\xfc``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def is_hidden(name: str) -> bool:
    """Whether a file is one of the system's, or hidden, as ``.DS_Store`` and ``__MACOSX/a.jpg`` are."""
    return any(
        part.startswith((".", "__MACOSX")) or part.lower() in _SYSTEM_FILES for part in name.split("/")
    )


def zip_name(name: str, is_utf8: bool) -> str:
    """Return the name of a zip's member, whose bytes ``zipfile`` decoded.

    Args:
        is_utf8: whether the member is marked as UTF-8.
    """
    if is_utf8 or name.isascii():
        return name
    return decode_zip_name(name.encode("cp437"))


def decode_zip_name(raw: bytes) -> str:
    """Decode a name without a mark: UTF-8 if it is well-formed, else the code page that gives letters."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        pass
    for page in ("cp437", "cp1252", "cp850"):
        try:
            name = raw.decode(page)
        except UnicodeDecodeError:
            continue
        if all(char.isascii() or unicodedata.category(char) in ("Lu", "Ll") for char in name):
            return name
    return raw.decode("cp437")


def zip_spellings(name: str) -> Iterator[str]:
    """Yield what ``zip_name`` may have made of a name that a zip holds in some code page."""
    if not name.isascii():
        for page in _CODE_PAGES:
            for form in ("NFC", "NFD"):
                try:
                    raw = unicodedata.normalize(form, name).encode(page)
                except UnicodeEncodeError:
                    continue
                yield decode_zip_name(raw)
