"""Requests of imports and reconciliations."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from shared.contracts.base import Contract, Fraction

ImportMode = Literal["upsert", "sync", "metadata_only"]
_MAX_COLUMNS = 500


def _parse_mapping(value: Any) -> Any:
    """Return a mapping that came as JSON in a form or query, with one column or a list of them a field."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError('a JSON object such as {"title": ["name"]}') from None
    if not isinstance(value, dict):
        return value
    return {field: [columns] if isinstance(columns, str) else columns for field, columns in value.items()}


#: Columns of a manifest by the field of a product that they mean.
ImportMapping = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=120)],
        Annotated[list[Annotated[str, StringConstraints(max_length=500)]], Field(max_length=_MAX_COLUMNS)],
    ],
    Field(max_length=_MAX_COLUMNS),
    BeforeValidator(_parse_mapping),
]


class ImportOptions(Contract):
    """Options of an import."""

    NEEDED_BY: ClassVar[dict[str, int]] = {"mapping": 2}

    mode: ImportMode = Field(
        "upsert",
        description="upsert: writes the products of the manifest. sync: also deletes all other products. "
        "metadata_only: updates the data of existing products and keeps their pictures",
    )
    dry_run: bool = Field(False, description="Change nothing, and report what the import would do")
    repair: bool = Field(False, description="Repair differences between catalogue and index after the import")
    max_delete_share: Fraction = Field(
        0.5, description="Maximum share of products that a sync may delete; above it, the sync is refused"
    )
    mapping: ImportMapping | None = Field(
        None,
        description="Which columns mean which fields, as {field: [column, ...]}; kept with the catalogue for "
        "later imports. Fields are those of a product, title_de, attributes.NAME, and ignore. null: as kept; "
        "the names of the columns decide the fields that it does not name",
    )


class ImportRequest(ImportOptions):
    """An import of a folder, archive or manifest that the server can read."""

    source: str = Field(
        max_length=4096,
        description="Path or s3:// address under one of jobs.import_roots, or web address of a manifest",
    )


class ReconcileRequest(Contract):
    """Options of a comparison of catalogue and index."""

    repair: bool = Field(False, description="Write missing rows from the database, delete orphans")
