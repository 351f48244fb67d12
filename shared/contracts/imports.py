"""Imports as they are asked for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.contracts.base import Contract, Fraction

ImportMode = Literal["upsert", "sync", "metadata_only"]


class ImportOptions(Contract):
    """How an import is done."""

    mode: ImportMode = Field(
        "upsert",
        description="upsert: writes what the manifest names. sync: and deletes the products that it does "
        "not name. metadata_only: writes data only; products keep their pictures, and none is made",
    )
    dry_run: bool = Field(False, description="Change nothing, and report what the import would do")
    repair: bool = Field(
        False, description="Mend what differs between catalogue and index when the import is done"
    )
    max_delete_share: Fraction = Field(
        0.5, description="A sync that would delete more of the catalogue's products is refused, whole"
    )


class ImportRequest(ImportOptions):
    """The JSON form of an import: a folder, archive or manifest that the server can read."""

    source: str = Field(
        max_length=4096,
        description="Path or s3:// address under one of jobs.import_roots, or a manifest's web address",
    )


class ReconcileRequest(Contract):
    """A comparison of catalogue and index."""

    repair: bool = Field(False, description="Write missing rows from the database, delete orphans")
