"""Index versions of a catalogue: their collections, models and states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from sqlalchemy import exists, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.database import Database
from shared.database.clock import now_s
from shared.database.tables import Catalogue, Detection, IndexVersionRow, ModelVersion
from shared.errors import IndexUnavailable, UnknownCatalogue
from worker.vector_index.contract import VectorIndex
from worker.vision.pipeline import Pipeline

#: States of versions that are written.
WRITTEN = ("live", "building", "ready")
KEPT = (*WRITTEN, "retired")


@dataclass(frozen=True, slots=True)
class IndexVersion:
    """An index version of a catalogue.

    Attributes:
        number: 1 is the catalogue's first.
        state: building | ready | live | retired | pruned.
        detector, embedder: the versions of the models that fill it.
        detector_name, embedder_name: how they are loaded; empty where only the versions tell.
        beside: the second collection, that of a rebuild, or None.  prose: ignore (a column)
        stale_since: the catalogue's change after which ``collection`` may lack rows; None while it is
            complete.
        beside_since: the catalogue's change after which the second collection may lack rows.
        epoch: grows whenever the collections that are written change.
    """

    id: int
    alias: str
    collection: str
    detector: str
    embedder: str
    dim: int
    state: str
    number: int
    detector_name: str
    embedder_name: str
    beside: str | None
    stale_since: int | None
    beside_since: int | None
    epoch: int

    @property
    def collections(self) -> tuple[str, ...]:
        """The collections that its rows are written to: one, or two during a rebuild."""
        return (self.collection,) if self.beside is None else (self.collection, self.beside)


#: Columns of ``index_versions`` that make an ``IndexVersion``.
LIVE_COLUMNS = tuple(IndexVersionRow.__table__.c[field.name] for field in fields(IndexVersion))


def live_index(session: Session, catalogue_id: int) -> IndexVersion | None:
    """Return the catalogue's live index version, None if nothing was ever imported."""
    return next(iter(versions_in(session, catalogue_id, ("live",))), None)


def written_indexes(session: Session, catalogue_id: int) -> list[IndexVersion]:
    """Return the versions that a product's writes must reach: the live one, then building and ready."""
    return versions_in(session, catalogue_id, WRITTEN)


def kept_indexes(session: Session, catalogue_id: int) -> list[IndexVersion]:
    """Return the versions that have a collection, the live one first: a deletion must reach them all."""
    return versions_in(session, catalogue_id, KEPT)


def all_written(session: Session) -> list[IndexVersion]:
    """Return the written versions of all catalogues, the live ones first, then the newest."""
    rows = session.scalars(
        select(IndexVersionRow).where(IndexVersionRow.state.in_(WRITTEN)).order_by(IndexVersionRow.id.desc())
    )
    return sorted((as_live(row) for row in rows), key=lambda version: version.state != "live")


def index_version(session: Session, version_id: int) -> IndexVersion | None:
    """Return one version by its id."""
    row = session.get(IndexVersionRow, version_id, populate_existing=True)
    return None if row is None else as_live(row)


def find_model_version(session: Session, detector: str, embedder: str) -> int | None:
    """Return the id of two models' versions, None while no detection is theirs."""
    return session.scalar(
        select(ModelVersion.id).where(ModelVersion.detector == detector, ModelVersion.embedder == embedder)
    )


def model_version_id(session: Session, detector: str, embedder: str) -> int:
    """Return the id of two models' versions, inserted in this transaction if it is new."""
    found = find_model_version(session, detector, embedder)
    if found is not None:
        return found
    try:
        with session.begin_nested():
            row = ModelVersion(detector=detector, embedder=embedder)
            session.add(row)
            session.flush()
            return row.id
    except IntegrityError:  # another worker inserted it concurrently
        made = find_model_version(session, detector, embedder)
        assert made is not None
        return made


def next_change_number(
    session: Session, catalogue_id: int, versions: Sequence[IndexVersion] | None = None
) -> int:
    """Count a change of the catalogue; called first in a transaction that changes products.

    Other changes of the catalogue wait until this transaction ends, so that numbers are in the order in
    which changes become visible. ``stale_since`` of a version refers to them.

    Args:
        versions: those that the caller wrote rows to, or deleted rows from, before this transaction.

    Returns:
        The change's number, for ``products.change``.

    Raises:
        IndexUnavailable: other collections are written now: the caller must write its rows again.
    """
    number: int | None = session.scalar(
        update(Catalogue)
        .where(Catalogue.id == catalogue_id)
        .values(changes=Catalogue.changes + 1)
        .returning(Catalogue.changes)
    )
    if number is None:
        raise UnknownCatalogue("The catalogue is gone.")
    if versions is not None:
        served = {(v.id, v.epoch) for v in versions}
        wanted = {(v.id, v.epoch) for v in written_indexes(session, catalogue_id)}
        if not wanted <= served:
            raise IndexUnavailable("The index versions of this catalogue changed concurrently: write again.")
    return number


def change_version(session: Session, version: IndexVersion, **values: Any) -> None:
    """Change the row of an index version and begin a new epoch: jobs check again where its rows go."""
    session.execute(
        update(IndexVersionRow)
        .where(IndexVersionRow.id == version.id)
        .values(epoch=IndexVersionRow.epoch + 1, **values)
    )


def require_same_collections(session: Session, version: IndexVersion) -> None:
    """Raise IndexUnavailable if other collections of the version are written since it was read."""
    now = index_version(session, version.id)
    if now is None or now.epoch != version.epoch:
        raise IndexUnavailable("The index versions of this catalogue changed concurrently: write again.")


def lock_catalogue_changes(session: Session, catalogue_id: int) -> int:
    """Block changes of the catalogue until this transaction ends; return the number of the last one."""
    query = select(Catalogue.changes).where(Catalogue.id == catalogue_id).with_for_update()
    number = session.scalar(query)
    if number is None:
        raise UnknownCatalogue("The catalogue is gone.")
    return number


def open_collection(database: Database, index: VectorIndex, live: IndexVersion) -> None:
    """Create the live version's collection and alias if they are missing.

    Safe when several workers do it concurrently, and when one dies half-way: the version's row came first,
    and collection and alias are created again until both exist.

    Raises:
        IndexUnavailable: the collection is gone although the catalogue has products.
    """
    if live.collection not in index.collections():
        with database.read() as session:
            filled = is_filled(session, live.id)
        if filled and live.beside is None:
            # An empty collection would hide the loss: searches would find nothing, without an error.
            raise IndexUnavailable(
                f"The collection {live.collection} is gone: `vitrine rebuild CATALOGUE` brings it back."
            )
        if filled:
            return
    make_collection(index, live)


def is_filled(session: Session, version_id: int) -> bool:
    """Return whether the version has rows; without any, its collection may not exist yet."""
    return bool(session.scalar(select(exists().where(Detection.index_version == version_id))))


def make_collection(index: VectorIndex, live: IndexVersion) -> None:
    """Create the live version's collection and alias unless they exist."""
    index.create(live.collection, live.dim, wait=False)
    if index.resolve_alias(live.alias) != live.collection:
        index.set_alias(live.alias, live.collection)


def live_or_new(database: Database, catalogue_id: int, default: Pipeline, prefix: str) -> IndexVersion:
    """Return the catalogue's live index version; insert its row, without a collection, if there is none.

    Args:
        default: the models that a new catalogue starts with.
    """
    with database.read() as session:
        found = live_index(session, catalogue_id)
    if found is not None:
        return found
    try:
        with database.write() as session:
            session.add(
                IndexVersionRow(
                    catalogue_id=catalogue_id,
                    number=1,
                    collection=collection_name(prefix, catalogue_id, 1),
                    alias=alias_name(prefix, catalogue_id),
                    detector=default.detector.version,
                    embedder=default.embedder.version,
                    detector_name=default.detector_name,
                    embedder_name=default.embedder_name,
                    dim=default.embedder.dim,
                    state="live",
                    created_at=now_s(),
                )
            )
    except IntegrityError:
        pass  # another worker inserted it concurrently
    with database.read() as session:
        found = live_index(session, catalogue_id)
    assert found is not None
    return found


def collection_name(prefix: str, catalogue_id: int, number: int | Literal[""]) -> str:
    """Return the name of a version's first collection; without a number, the prefix of all."""
    return f"{prefix}_{catalogue_id}_v{number}"


def alias_name(prefix: str, catalogue_id: int) -> str:
    """Return the name under which Milvus knows the catalogue's live collection."""
    return f"{prefix}_{catalogue_id}"


def next_number(session: Session, catalogue_id: int) -> int:
    """Return the number of the catalogue's next index version."""
    query = select(func.max(IndexVersionRow.number)).where(IndexVersionRow.catalogue_id == catalogue_id)
    return (session.scalar(query) or 0) + 1


def versions_in(session: Session, catalogue_id: int, states: Sequence[str]) -> list[IndexVersion]:
    """Return a catalogue's versions in some states: in the order of those, then by number."""
    rows = session.scalars(
        select(IndexVersionRow)
        .where(IndexVersionRow.catalogue_id == catalogue_id, IndexVersionRow.state.in_(states))
        .order_by(IndexVersionRow.number)
        .execution_options(populate_existing=True)
    )
    return sorted((as_live(row) for row in rows), key=lambda version: states.index(version.state))


def as_live(row: Any) -> IndexVersion:
    """Return the index version of a row that has ``LIVE_COLUMNS``."""
    return IndexVersion(
        id=row.id,
        alias=row.alias,
        collection=row.collection,
        detector=row.detector,
        embedder=row.embedder,
        dim=row.dim,
        state=row.state,
        number=row.number,
        detector_name=row.detector_name,
        embedder_name=row.embedder_name,
        beside=row.beside,
        stale_since=row.stale_since,
        beside_since=row.beside_since,
        epoch=row.epoch,
    )
