"""Reads manifests: CSV, JSON Lines, or a plain folder of images; from a folder or a zip file.

The format is described in docs/import.md.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from pydantic import ValidationError

from shared.contracts import ProductIn
from shared.errors import ImageMissing, InvalidManifest
from shared.import_sources import Source

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif", ".heic", ".heif", ".tif", ".tiff", ".bmp")
)
MANIFEST_SUFFIXES = (".csv", ".jsonl")
#: Known columns; every other one becomes an attribute.
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
_MAX_ROW_BYTES = 1_000_000
_MAX_COLUMNS = 500


@dataclass(frozen=True, slots=True)
class Row:
    """A product of a manifest, or why it is none.

    Attributes:
        number: line of the manifest, from 1 (or the product's place in the folder).
        problem: reason code and sentence; then ``product`` is None.
    """

    number: int
    product_id: str | None
    product: ProductIn | None
    images: list[str]
    problem: tuple[str, str] | None = None


def find_manifest(source: Source) -> str | None:
    """Return the manifest's name, or None for a plain folder of images.

    Raises:
        InvalidManifest: several files may be it.
    """
    if source.manifest is not None:
        return source.manifest
    found = [n for n in source.names() if n.lower().endswith(MANIFEST_SUFFIXES) and not _hidden(n)]
    top = min((n.count("/") for n in found), default=0)
    found = [n for n in found if n.count("/") == top]
    named = [n for n in found if PurePosixPath(n).stem.lower() in ("manifest", "products", "catalogue")]
    if len(found) > 1 and len(named) != 1:
        raise InvalidManifest(f"Which is the manifest: {', '.join(found[:5])}? Name one `manifest.csv`.")
    return next(iter(named or found), None)


def read_rows(source: Source) -> Iterator[Row]:
    """Yield the products of a source one by one, in constant memory.

    Raises:
        InvalidManifest: the file as a whole cannot be read; a bad row is a Row with a problem.
    """
    name = find_manifest(source)
    if name is None:
        yield from _folder_rows(source)
        return
    # Image paths are relative to the manifest.
    base = str(PurePosixPath(name).parent)
    reader = _csv_records if name.lower().endswith(".csv") else _json_records
    try:
        with source.open(name) as file:
            for number, record in reader(file):
                yield _row(number, record, "" if base == "." else base + "/")
    except ImageMissing as error:
        raise InvalidManifest(error.message) from error
    except UnicodeDecodeError as error:
        raise InvalidManifest(f"{name} is not UTF-8 text (byte {error.start}): save it as UTF-8.") from error


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _folder_rows(source: Source) -> Iterator[Row]:
    """A file is a product; a sub-folder is a product with all its images."""
    products: dict[str, list[str]] = {}
    for name in source.names():
        path = PurePosixPath(name)
        if path.suffix.lower() in IMAGE_SUFFIXES and not _hidden(name):
            key = path.stem if len(path.parts) == 1 else path.parts[-2]
            products.setdefault(key, []).append(name)
    if not products:
        raise InvalidManifest("There are no images and no manifest here: see docs/import.md for the formats.")
    for number, (key, images) in enumerate(products.items(), start=1):
        title = key.replace("_", " ").replace("-", " ").strip()
        yield _row(
            number,
            {"product_id": re.sub(r"[^A-Za-z0-9_.-]", "_", key)[:64], "title": title, "images": images},
            "",
        )


def _json_records(file: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | str]]:
    number = 0
    while line := file.readline(_MAX_ROW_BYTES + 1):
        number += 1
        if len(line) > _MAX_ROW_BYTES:
            raise InvalidManifest(f"Line {number} of the manifest is longer than {_MAX_ROW_BYTES:,} bytes.")
        text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        if not text:
            continue
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            yield number, f"This line is not JSON: {error}"
            continue
        yield number, record if isinstance(record, dict) else "This line is not a JSON object."


def _csv_records(file: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | str]]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    head = text.read(64 * 1024)
    text.seek(0)
    first = head.splitlines()[0] if head.strip() else ""
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        columns = [c.strip() for c in next(reader, [])]
        if not columns or len(columns) > _MAX_COLUMNS or "product_id" not in columns:
            raise InvalidManifest("The first line of a CSV manifest names its columns; one is `product_id`.")
        for cells in reader:
            if len(cells) > len(columns):
                yield (
                    reader.line_num,
                    f"This row has {len(cells)} cells, and there are {len(columns)} columns.",
                )
            elif any(cells):
                yield reader.line_num, _csv_record(dict(zip(columns, cells, strict=False)))
    except csv.Error as error:
        raise InvalidManifest(
            f"Line {reader.line_num} of the CSV manifest cannot be read: {error}."
        ) from error


def _csv_record(cells: dict[str, str]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for column, cell in cells.items():
        value = cell.strip()
        if not value:
            continue
        if column in ("tags", "images"):
            record[column] = [part.strip() for part in value.split("|") if part.strip()]
        elif column.startswith("title_"):
            record.setdefault("titles", {})[column[len("title_") :]] = value
        elif column.startswith("category_"):
            record.setdefault("categories", {})[column[len("category_") :]] = value
        else:
            record[column] = value
    return record


def _row(number: int, record: dict[str, Any] | str, base: str) -> Row:
    """Turn a record into a product, or say what is wrong with it."""
    if isinstance(record, str):
        return Row(number, None, None, [], ("invalid_row", record))
    product_id = record.get("product_id")
    if product_id is None or product_id == "":
        return Row(number, None, None, [], ("missing_product_id", "This row has no product_id."))
    product_id = str(product_id)
    if not _ID.fullmatch(product_id):
        text = (
            f"{product_id[:80]!r} is no product id: 1 to 64 of the letters A-Z a-z, digits, `_`, `.` and `-`."
        )
        return Row(number, None, None, [], ("invalid_product_id", text))
    try:
        images = _images(record, base)
        product = ProductIn.model_validate(_product(record))
    except ValidationError as error:
        return Row(number, product_id, None, [], _problem(error))
    except ValueError as error:
        return Row(number, product_id, None, [], ("invalid_row", str(error)))
    if not images:
        return Row(number, product_id, None, [], ("no_image", "This product names no image."))
    return Row(number, product_id, product, images)


def _images(record: dict[str, Any], base: str) -> list[str]:
    named = record.get("images") or record.get("image") or []
    names = [named] if isinstance(named, str) else named
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
        raise ValueError("`images` is a list of file names relative to the manifest.")
    return [base + name for name in dict.fromkeys(names)]


def _product(record: dict[str, Any]) -> dict[str, Any]:
    fields = {k: record[k] for k in _PRODUCT_FIELDS if record.get(k) is not None}
    if title := fields.pop("title", None):
        fields["titles"] = {"en": str(title), **(fields.get("titles") or {})}
    price = fields.get("price")
    if isinstance(price, float):
        fields["price"] = repr(price)  # the decimal digits that were written, not the binary ones
    extra = {k: v for k, v in record.items() if k not in _FIELDS}
    if extra:
        fields["attributes"] = {**(fields.get("attributes") or {}), **extra}
    return fields


def _problem(error: ValidationError) -> tuple[str, str]:
    first = error.errors()[0]
    field = str(first["loc"][0]) if first["loc"] else ""
    reason = {"price": "invalid_price", "currency": "invalid_currency"}.get(field, "invalid_row")
    return (
        reason,
        f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']} (is {str(first['input'])[:60]!r})",
    )
