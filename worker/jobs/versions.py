"""Which index version a job is about."""

from __future__ import annotations

from shared.errors import NotFound
from shared.jobs.work import ChunkClaim
from worker.indexes.versions import IndexVersion, index_version, live_index
from worker.products.context import JobContext


def named_or_live(context: JobContext, claim: ChunkClaim) -> IndexVersion | None:
    """Return the version that the job names, or the live one where it names none; None if it is missing."""
    with context.database.read() as session:
        if claim.index_version is None:
            return live_index(session, claim.catalogue_id)
        return index_version(session, claim.index_version)


def required_version(context: JobContext, claim: ChunkClaim) -> IndexVersion:
    """Return the version that the job names, or the live one where it names none.

    Raises:
        NotFound: it was pruned, or the catalogue is empty.
    """
    found = named_or_live(context, claim)
    if found is None and claim.index_version is None:
        raise NotFound(f"Catalogue {claim.catalogue!r} has no index: import products first.")
    if found is None or found.state == "pruned":
        raise NotFound("This index version was pruned: `vitrine indexes CATALOGUE` lists what there is.")
    return found
