"""Products of a plain folder: a picture, or a sub-folder with all its pictures, is a product."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from shared.contracts.product_ids import MAX_ID_BYTES
from shared.errors import InvalidManifest, VitrineError
from shared.imports.kinds import is_doubtful_manifest, is_manifest
from shared.imports.pictures import has_picture_ending
from shared.imports.sources import Source, unread_files
from shared.imports.spelling import fold_name, is_hidden
from shared.imports.tables import Table

#: Reason of a file whose product is not known: while there is one, a sync deletes nothing.
UNREADABLE_FILE: Final = "unreadable_file"
_NOT_IN_IDS: Final = re.compile(r"[^\w.-]")
_MAX_ID_CHARS: Final = 64


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file of a folder that is no product.

    Attributes:
        product_id: of the product that it may have belonged to, None if nothing tells.
        reason: code of the failure.
    """

    name: str
    product_id: str | None
    reason: str
    message: str


def folder_records(source: Source) -> Iterator[dict[str, Any] | BadFile]:
    """Yield a record for each product of a folder without a manifest, and each file that is none.

    Files of unknown endings are pictures of their product too, so that the job says what they are. Of two
    folders of one name in different places the second is reported as a duplicate, and not mixed in.

    Raises:
        InvalidManifest: there is nothing in it.
    """
    products: dict[str, list[str]] = {}
    tables: list[str] = []
    has_pictures = False
    for name in sorted(source.names()):
        path = PurePosixPath(fold_name(name))
        if is_hidden(str(path)):
            continue
        if is_manifest(name):
            tables.append(name)
            continue
        has_pictures = has_pictures or has_picture_ending(name)
        folder = _stem(path) if len(path.parts) == 1 else str(path.parent)
        products.setdefault(folder, []).append(name)
    unread = list(unread_files(source))
    if not products and not unread:
        what = f": {', '.join(tables[:5])} is no list of products" if tables else ""
        raise InvalidManifest(
            f"There are no images and no manifest here{what}: see docs/import.md for the formats."
        )
    for folder, pictures in products.items():
        key = unicodedata.normalize("NFC", PurePosixPath(folder).name)
        title = key.replace("_", " ").replace("-", " ").strip()
        yield {"product_id": _id_of(key), "title": title, "images": pictures}
    for name in tables:
        yield BadFile(name, None, "unsupported_format", _no_manifest(source, name))
    for file in unread:
        yield BadFile(file.name, None, UNREADABLE_FILE, file.message)


def _stem(path: PurePosixPath) -> str:
    """Return a file's name without its ending, if what follows the last point is one."""
    return path.stem if has_picture_ending(path.name) or len(path.suffix) <= 5 else path.name


def _id_of(key: str) -> str:
    text = _NOT_IN_IDS.sub("_", key)[:_MAX_ID_CHARS]
    return text.encode()[:MAX_ID_BYTES].decode(errors="ignore")


def _no_manifest(source: Source, name: str) -> str:
    if is_doubtful_manifest(name):
        return f"{name!r} is neither a picture nor a list of products."
    try:
        table = Table(source, name)
        if table.columns and "product_id" not in table.mapping.fields.values():
            return table.missing_id()
    except VitrineError as error:
        return error.message
    return f"{name} lies below the pictures, so it is not read as a manifest."
