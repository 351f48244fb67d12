"""Describe a manifest in the report of a dry run: what its columns mean, and its first products."""

from __future__ import annotations

import base64
from typing import Any, Final

from sqlalchemy import select

from shared.contracts.stored import as_object
from shared.database import Database
from shared.database.tables import JobItem
from shared.errors import VitrineError
from shared.imports.manifest import find_manifest
from shared.imports.sources import Source
from shared.imports.tables import Reading, Table
from shared.jobs.work import ChunkClaim
from shared.sandbox.pool import PictureSandbox

_MAX_PRODUCTS: Final = 10
_SIDE_PX: Final = 96
_SHOWN_FIELDS: Final = ("titles", "category", "price", "currency", "url", "tags", "attributes")


def describe_columns(source: Source, reading: Reading) -> dict[str, Any]:
    """Return who wrote the manifest, its format, and the field of each column; ``columns`` may be empty.

    Raises:
        InvalidManifest, InvalidInput: as ``shared.imports.manifest.read_rows``.
    """
    name = find_manifest(source, reading)
    if name is None:
        return {
            "platform": None,
            "looks_like": "a folder of pictures",
            "format": None,
            "encoding": None,
            "columns": [],
        }
    table = Table(source, name, reading)
    return {
        "platform": table.mapping.platform.key,
        "looks_like": table.mapping.platform.title,
        "format": str(table.format),
        "encoding": table.encoding,
        "decimal_point": table.prices.point,
        "columns": [{"column": c, "field": f} for c, f in table.mapping.fields.items() if c],
        "unknown": table.mapping.unknown(),
    }


def preview_products(
    database: Database, claim: ChunkClaim, source: Source, pictures: PictureSandbox, max_bytes: int
) -> list[dict[str, Any]]:
    """Return the first products of a job as they would be stored, each with a small picture."""
    with database.read() as session:
        items = session.execute(
            select(JobItem.row, JobItem.product_id, JobItem.payload)
            .where(JobItem.job_id == claim.job_id)
            .order_by(JobItem.number)
            .limit(_MAX_PRODUCTS)
        ).all()
    found = []
    for row, product_id, stored in items:
        payload = as_object(stored)
        if "product" not in payload:
            continue  # one that a sync would delete
        product = as_object(payload["product"])
        files = [name for name in payload.get("files") or [] if isinstance(name, str)]
        fields = {key: product[key] for key in _SHOWN_FIELDS if product.get(key)}
        picture = _picture(source, files[0], pictures, max_bytes) if files else None
        found.append(
            {"row": row, "product_id": product_id, **fields, "images": files[:10], "picture": picture}
        )
    return found


def _picture(source: Source, name: str, pictures: PictureSandbox, max_bytes: int) -> str | None:
    """Return a picture as a data address, None if it cannot be shown; its failure is listed elsewhere."""
    try:
        with source.open(name) as file:
            data = file.read(max_bytes + 1)
        if len(data) > max_bytes:
            return None
        small = pictures.rendition(data, _SIDE_PX, "JPEG")
    except VitrineError:
        return None
    return "data:image/jpeg;base64," + base64.b64encode(small).decode()
