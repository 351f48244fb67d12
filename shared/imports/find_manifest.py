"""Finds the manifest among the files of a folder or archive: by its content where its name is no proof."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import PurePosixPath
from typing import Final

from shared.errors import InvalidManifest, VitrineError
from shared.imports.kinds import is_doubtful_manifest, is_manifest
from shared.imports.pictures import has_picture_ending
from shared.imports.sources import Source
from shared.imports.spelling import is_hidden
from shared.imports.tables import Reading, Table

#: Maximum number of files that are read; more of them than this are measurements, not manifests.
_MAX_CANDIDATES: Final = 50
_NAMES: Final = ("manifest", "products", "catalogue")
_OLD_EXCEL: Final = ".xls"


def find_manifest(source: Source, reading: Reading | None = None) -> str | None:
    """Return the manifest's name, or None for a plain folder of images.

    It is the file nearest the top that has a column for product ids. A file that has none is a manifest
    only where no picture lies above it or next to it, so that its error names it.

    Raises:
        InvalidManifest: several files may be it.
    """
    if source.manifest is not None:
        return source.manifest
    above = beside = False
    doubtful: list[str] = []
    for _, level in groupby(source.names(), key=lambda name: name.count("/")):
        candidates: list[str] = []
        for name in level:
            if is_hidden(name):
                continue
            beside = beside or has_picture_ending(name)
            if is_manifest(name) or name.lower().endswith(_OLD_EXCEL):
                candidates.append(name)
        found = _recognised(source, candidates, reading, is_sure=not above)
        if found:
            return _only(found)
        if not above:
            doubtful += [c for c in candidates if not is_doubtful_manifest(c)]
        above = beside
    return doubtful[0] if doubtful else None


def _recognised(
    source: Source, candidates: Sequence[str], reading: Reading | None, *, is_sure: bool
) -> list[str]:
    """Return the candidates of one level that are manifests.

    Args:
        is_sure: whether a single candidate with a strong ending needs no look: its own error is better.
    """
    strong = [c for c in candidates if not is_doubtful_manifest(c)]
    if is_sure and len(strong) == 1:
        return strong
    if is_sure and (named := [c for c in strong if _stem(c) in _NAMES]) and len(named) == 1:
        return named
    return [c for c in candidates[:_MAX_CANDIDATES] if has_product_ids(source, c, reading)]


def _stem(name: str) -> str:
    """Return the name of a file in lower case without its endings, such as ``.csv.gz``."""
    return PurePosixPath(name.lower().removesuffix(".gz")).stem


def _only(found: Sequence[str]) -> str:
    named = [name for name in found if _stem(name) in _NAMES]
    if len(found) > 1 and len(named) != 1:
        raise InvalidManifest(
            f"Which is the manifest: {', '.join(sorted(found)[:5])}? Name one `manifest.csv`."
        )
    return (named or found)[0]


def has_product_ids(source: Source, name: str, reading: Reading | None) -> bool:
    """Whether a file can be read as a manifest and has a column for product ids."""
    try:
        table = Table(source, name, reading or Reading())
        return bool(table.columns) and "product_id" in table.mapping.fields.values()
    except VitrineError:
        return False
