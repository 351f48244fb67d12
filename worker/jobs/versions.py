"""Which index version a job is about."""

from __future__ import annotations

from shared.errors import NotFound
from shared.jobs.work import ChunkClaim
from worker.indexes.versions import IndexVersion, index_version, live_index
from worker.products.context import JobContext


def named_or_live(tools: JobContext, claim: ChunkClaim) -> IndexVersion | None:
    """Return the version that the job names, or the live one where it names none; None if it is not there."""
    with tools.database.read() as session:
        if claim.index_version is None:
            return live_index(session, claim.catalogue_id)
        return index_version(session, claim.index_version)


def required(tools: JobContext, claim: ChunkClaim) -> IndexVersion:
    """The same for a job that needs one.

    Raises:
        NotFound: there is none, or it was pruned.
    """
    found = named_or_live(tools, claim)
    if found is None or found.state == "pruned":
        raise NotFound(f"Catalogue {claim.catalogue!r} has no such index: import products first.")
    return found
