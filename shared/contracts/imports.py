"""Requests of imports and reconciliations."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.contracts.base import Contract, Fraction

ImportMode = Literal["upsert", "sync", "metadata_only"]


class ImportOptions(Contract):
    """Options of an import."""

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


class ImportRequest(ImportOptions):
    """An import of a folder, archive or manifest that the server can read."""

    source: str = Field(
        max_length=4096,
        description="Path or s3:// address under one of jobs.import_roots, or web address of a manifest",
    )


class ReconcileRequest(Contract):
    """Options of a comparison of catalogue and index."""

    repair: bool = Field(False, description="Write missing rows from the database, delete orphans")
