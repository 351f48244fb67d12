"""Calibrations and boosts as the web sees them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from shared.contracts.ranking import Boosts, CalibrationOut
from shared.contracts.search import Boost
from shared.contracts.states import IndexState, JobKind
from shared.database import Database
from shared.database.catalogue_rows import find_catalogue
from shared.database.clock import to_datetime
from shared.database.idempotency import AcceptedRequest
from shared.database.tables import Calibration, IndexVersionRow, Ranking
from shared.errors import Conflict, NotFound
from shared.filters import parse
from shared.jobs.repository import JobRepository

#: The kind of job, a name in ``worker/jobs``.
KIND = JobKind.CALIBRATE


class RankingRepository:
    """What an owner may ask of the order of hits, and of what scores mean."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._jobs = JobRepository(database)

    def calibrate(self, catalogue: str, number: int | None = None) -> AcceptedRequest:
        """Commit finding out what an index version's scores mean.

        Args:
            number: of the index version; the live one if it is None.

        Raises:
            UnknownCatalogue, NotFound.
            Conflict: it is being done, or the version was pruned.
        """
        with self._database.read() as session:
            catalogue_row = find_catalogue(session, catalogue)
            query = select(IndexVersionRow).where(IndexVersionRow.catalogue_id == catalogue_row.id)
            which = (
                IndexVersionRow.state == IndexState.LIVE
                if number is None
                else IndexVersionRow.number == number
            )
            row = session.scalar(query.where(which))
            if row is None:
                what = "is empty: import products first" if number is None else f"has no index {number}"
                raise NotFound(f"Catalogue {catalogue!r} {what}.", None if number is None else "index")
            if row.state == IndexState.PRUNED:
                raise Conflict(f"Index {row.number} was pruned.", "index")
        return self._jobs.create(KIND, catalogue, index_version=row.id, exclusive_kinds=(KIND,))

    def calibrations(self, catalogue: str) -> list[CalibrationOut]:
        """Return what is known of each index version that was calibrated, the newest version first."""
        with self._database.read() as session:
            catalogue_row = find_catalogue(session, catalogue)
            rows = session.execute(
                select(Calibration, IndexVersionRow)
                .join(IndexVersionRow, IndexVersionRow.id == Calibration.index_version)
                .where(IndexVersionRow.catalogue_id == catalogue_row.id)
                .order_by(IndexVersionRow.number.desc())
            )
            return [
                CalibrationOut(
                    index=version.number,
                    live=version.state == IndexState.LIVE,
                    calibrated=bool(found.curves),
                    report=found.report,
                    created_at=to_datetime(found.created_at),
                )
                for found, version in rows
            ]

    def boosts(self, catalogue: str) -> Boosts:
        """Return the catalogue's boosts."""
        with self._database.read() as session:
            row = session.get(Ranking, find_catalogue(session, catalogue).id)
            return Boosts.model_validate({"boosts": row.boosts if row else []})

    def set_boosts(self, catalogue: str, wanted: Sequence[Boost]) -> Boosts:
        """Set the catalogue's boosts, in place of those that it had.

        Raises:
            UnknownCatalogue.
            InvalidInput: a filter cannot be read.
        """
        for boost in wanted:
            parse(boost.filter)
        with self._database.write() as session:
            catalogue_row = find_catalogue(session, catalogue)
            kept = [boost.model_dump(mode="json") for boost in wanted]
            session.merge(Ranking(catalogue_id=catalogue_row.id, boosts=kept))
        return self.boosts(catalogue)
