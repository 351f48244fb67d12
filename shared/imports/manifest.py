"""Read manifests as products: CSV, JSON Lines, Parquet, or a plain folder of images.

docs/import.md describes the formats.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from pydantic import ValidationError

from shared.contracts import ProductIn
from shared.contracts.storable import find_unstorable
from shared.errors import ImageMissing, InvalidManifest, Misconfigured
from shared.imports.kinds import MANIFEST_SUFFIXES
from shared.imports.parquet import parquet_records
from shared.imports.records import Numbered, csv_records, json_records
from shared.imports.sources import Source

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif", ".heic", ".heif", ".tif", ".tiff", ".bmp")
)
#: Known columns; other columns become attributes.
_PRODUCT_FIELDS = (
    "titles",
    "title",
    "category",
    "categories",
    "price",
    "currency",
    "url",
    "tags",
    "attributes",
)
_FIELDS = frozenset((*_PRODUCT_FIELDS, "product_id", "images", "image"))
_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
#: Maximum nesting of lists and objects in attributes: deeper values are an attack or a mistake.
_MAX_DEPTH = 16


@dataclass(frozen=True, slots=True)
class Row:
    """A product of a manifest, or the error of its row.

    Attributes:
        number: line of the manifest, or number of the product in the folder, from 1.
        problem: reason code and message; ``product`` is then None, except for a product without images.
    """

    number: int
    product_id: str | None
    product: ProductIn | None
    images: list[str]
    problem: tuple[str, str] | None = None


def find_manifest(source: Source) -> str | None:
    """Return the manifest's name, or None for a plain folder of images.

    Raises:
        InvalidManifest: several files may be the manifest.
    """
    if source.manifest is not None:
        return source.manifest
    found: list[str] = []
    for name in source.names():
        if found and name.count("/") > found[0].count("/"):
            break  # deeper files are no candidates
        if name.lower().endswith(MANIFEST_SUFFIXES) and not _hidden(name):
            found.append(name)
    named = [n for n in found if PurePosixPath(n).stem.lower() in ("manifest", "products", "catalogue")]
    if len(found) > 1 and len(named) != 1:
        raise InvalidManifest(
            f"Which is the manifest: {', '.join(sorted(found)[:5])}? Name one `manifest.csv`."
        )
    return next(iter(named or found), None)


def read_rows(source: Source) -> Iterator[Row]:
    """Yield the products of a source in constant memory.

    Raises:
        InvalidManifest: the manifest cannot be read; an invalid row is a ``Row`` with a problem.
    """
    name = find_manifest(source)
    if name is None:
        yield from _folder_rows(source)
        return
    # Image paths are relative to the manifest.
    base = str(PurePosixPath(name).parent)
    try:
        with source.open(name) as file:
            for number, record in _records(file, name):
                yield _row(number, record, "" if base == "." else base + "/")
    except ImageMissing as error:
        raise InvalidManifest(error.message) from error


def _records(file: BinaryIO, name: str) -> Iterator[Numbered]:
    ending = PurePosixPath(name).suffix.lower()
    if ending == ".parquet":
        if importlib.util.find_spec("pyarrow") is None:
            raise Misconfigured(
                "Parquet is read by pyarrow, which is not installed here: install it, or send the manifest "
                "as .csv or .jsonl."
            )
        yield from parquet_records(file, name)
    else:
        yield from (csv_records if ending == ".csv" else json_records)(file)


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _folder_rows(source: Source) -> Iterator[Row]:
    """Yield a product per image at the top, and a product per sub-folder with all its images.

    A second folder with the same name elsewhere becomes a row with the same id, which is a duplicate.
    """
    products: dict[str, list[str]] = {}
    for name in sorted(source.names()):
        path = PurePosixPath(name)
        if path.suffix.lower() in IMAGE_SUFFIXES and not _hidden(name):
            folder = path.stem if len(path.parts) == 1 else str(path.parent)
            products.setdefault(folder, []).append(name)
    if not products:
        raise InvalidManifest("The import has no images and no manifest: see docs/import.md for the formats.")
    for number, (folder, images) in enumerate(products.items(), start=1):
        key = PurePosixPath(folder).name
        title = key.replace("_", " ").replace("-", " ").strip()
        yield _row(
            number,
            {"product_id": re.sub(r"[^A-Za-z0-9_.-]", "_", key)[:64], "title": title, "images": images},
            "",
        )


def _row(number: int, record: dict[str, Any] | str, base: str) -> Row:
    """Convert a record to a row with a product or a problem."""
    if isinstance(record, str):
        return Row(number, None, None, [], ("invalid_row", record))
    if (error := find_unstorable(record, _MAX_DEPTH)) is not None:
        return Row(number, None, None, [], ("invalid_row", error))
    product_id = record.get("product_id")
    if product_id is None or product_id == "":
        return Row(number, None, None, [], ("missing_product_id", "This row has no product_id."))
    # Spreadsheets and pandas may convert ids to numbers.
    whole = isinstance(product_id, float) and product_id.is_integer()
    product_id = str(int(product_id) if whole else product_id)
    if not _ID.fullmatch(product_id) or product_id in (".", ".."):
        text = (
            f"{product_id[:80]!r} is no product id: 1 to 64 of the letters A-Z a-z, digits, `_`, `.` and "
            "`-`, and neither `.` nor `..`."
        )
        return Row(number, None, None, [], ("invalid_product_id", text))
    try:
        images = _images(record, base)
        product = ProductIn.model_validate(_product(record))
    except ValidationError as invalid:
        return Row(number, product_id, None, [], _problem(invalid))
    except ValueError as invalid:
        return Row(number, product_id, None, [], ("invalid_row", str(invalid)))
    if not images:
        return Row(number, product_id, product, [], ("no_image", "This product names no image."))
    return Row(number, product_id, product, images)


def _images(record: dict[str, Any], base: str) -> list[str]:
    named = record.get("images") or record.get("image") or []
    names = [named] if isinstance(named, str) else named
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
        raise ValueError("`images` must be a list of addresses, or of file names relative to the manifest.")
    return [name if "://" in name else base + name for name in dict.fromkeys(names)]


def _product(record: dict[str, Any]) -> dict[str, Any]:
    fields = {k: record[k] for k in _PRODUCT_FIELDS if record.get(k) is not None}
    if title := fields.pop("title", None):
        fields["titles"] = _merge({"en": str(title)}, fields.get("titles"))
    price = fields.get("price")
    if isinstance(price, float):
        fields["price"] = repr(price)  # the shortest decimal digits, not the binary ones
    extra = {k: v for k, v in record.items() if k not in _FIELDS}
    if extra:
        fields["attributes"] = _merge(fields.get("attributes"), extra)
    return fields


def _merge(first: Any, second: Any) -> Any:
    """Merge two objects; return a value that is no object unchanged, for the contract to reject."""
    for each in (first, second):
        if each and not isinstance(each, dict):
            return each
    return {**(first or {}), **(second or {})}


def _problem(error: ValidationError) -> tuple[str, str]:
    first = error.errors()[0]
    field = str(first["loc"][0]) if first["loc"] else ""
    reason = {"price": "invalid_price", "currency": "invalid_currency"}.get(field, "invalid_row")
    return (
        reason,
        f"{'.'.join(str(part) for part in first['loc'])}: {first['msg'].removeprefix('Value error, ')} "
        f"(is {str(first['input'])[:60]!r})",
    )
