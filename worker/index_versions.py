"""Which collection of Milvus a catalogue is searched in, and which models filled it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.database import Database
from shared.database.tables import IndexVersion
from shared.errors import Misconfigured
from shared.ledger import now_s
from worker.vision import VectorIndex


@dataclass(frozen=True, slots=True)
class LiveIndex:
    """A catalogue's live index version."""

    id: int
    alias: str
    collection: str
    detector: str
    embedder: str
    dim: int


def live_index(session: Session, catalogue_id: int) -> LiveIndex | None:
    """Return the catalogue's live index version, None if nothing was ever imported."""
    row = session.scalar(
        select(IndexVersion).where(IndexVersion.catalogue_id == catalogue_id, IndexVersion.state == "live")
    )
    if row is None:
        return None
    return LiveIndex(row.id, row.alias, row.collection, row.detector, row.embedder, row.dim)


def require_same_embedder(live: LiveIndex, embedder: str, catalogue: str) -> None:
    """Raise Misconfigured if this worker's embeddings cannot be compared with the collection's."""
    if live.embedder != embedder:
        raise Misconfigured(
            f"Catalogue {catalogue!r} was indexed with {live.embedder} and this worker runs {embedder}: "
            "set VITRINE_MODELS__EMBEDDER to the former, or import into a new catalogue."
        )


def open_index(
    database: Database,
    index: VectorIndex,
    catalogue_id: int,
    *,
    detector: str,
    embedder: str,
    dim: int,
    prefix: str,
) -> LiveIndex:
    """Return the live index version, made with its collection and alias if there is none yet.

    Safe when several workers do it at once, and when one dies half-way: the row comes first, and
    collection and alias are made again until both are there.
    """
    live = _live_or_new(database, catalogue_id, detector, embedder, dim, prefix)
    index.create(live.collection, live.dim)
    if index.resolve_alias(live.alias) != live.collection:
        index.set_alias(live.alias, live.collection)
    return live


def _live_or_new(
    database: Database, catalogue_id: int, detector: str, embedder: str, dim: int, prefix: str
) -> LiveIndex:
    with database.read() as session:
        found = live_index(session, catalogue_id)
    if found is not None:
        return found
    try:
        with database.write() as session:
            session.add(
                IndexVersion(
                    catalogue_id=catalogue_id,
                    number=1,
                    collection=f"{prefix}_{catalogue_id}_v1",
                    alias=f"{prefix}_{catalogue_id}",
                    detector=detector,
                    embedder=embedder,
                    dim=dim,
                    state="live",
                    created_at=now_s(),
                )
            )
    except IntegrityError:
        pass  # another worker made it at the same moment
    with database.read() as session:
        found = live_index(session, catalogue_id)
    assert found is not None
    return found
