"""Read calibrations, create calibration jobs, and store boosts."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from shared.contracts.ranking import Boosts, CalibrationOut
from shared.contracts.search import Boost
from shared.contracts.states import IndexState, JobKind
from shared.contracts.stored import as_object, readable_views
from shared.database import Database
from shared.database.catalogue_rows import find_catalogue
from shared.database.clock import to_datetime
from shared.database.idempotency import AcceptedRequest
from shared.database.tables import Calibration, IndexVersionRow, Ranking
from shared.errors import Conflict, NotFound
from shared.filters import parse
from shared.jobs.repository import JobRepository

#: Kind of the calibration job.
KIND = JobKind.CALIBRATE


class RankingRepository:
    """Reads and changes the ranking settings of catalogues."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._jobs = JobRepository(database)

    def calibrate(self, catalogue: str, number: int | None = None) -> AcceptedRequest:
        """Commit the calibration of an index version.

        Args:
            number: number of the index version; None for the live one.

        Raises:
            UnknownCatalogue, NotFound.
            Conflict: a calibration is open, or the version was pruned.
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
        """Return the calibrations of all index versions, newest version first."""
        with self._database.read() as session:
            catalogue_row = find_catalogue(session, catalogue)
            rows = session.execute(
                select(Calibration, IndexVersionRow)
                .join(IndexVersionRow, IndexVersionRow.id == Calibration.index_version)
                .where(IndexVersionRow.catalogue_id == catalogue_row.id)
                .order_by(IndexVersionRow.number.desc())
            )
            return readable_views(rows, lambda row: _calibration_out(*row), "calibration")

    def boosts(self, catalogue: str) -> Boosts:
        """Return the catalogue's boosts."""
        with self._database.read() as session:
            row = session.get(Ranking, find_catalogue(session, catalogue).id)
            return Boosts.model_validate({"boosts": row.boosts if row else []})

    def set_boosts(self, catalogue: str, boosts: Sequence[Boost]) -> Boosts:
        """Replace the catalogue's boosts.

        Raises:
            UnknownCatalogue.
            InvalidInput: a filter cannot be parsed.
        """
        for boost in boosts:
            parse(boost.filter)
        with self._database.write() as session:
            catalogue_row = find_catalogue(session, catalogue)
            stored = [boost.model_dump(mode="json") for boost in boosts]
            session.merge(Ranking(catalogue_id=catalogue_row.id, boosts=stored))
        return self.boosts(catalogue)


def _calibration_out(row: Calibration, version: IndexVersionRow) -> CalibrationOut:
    return CalibrationOut(
        index=version.number,
        live=version.state == IndexState.LIVE,
        calibrated=bool(row.curves),
        report=as_object(row.report),
        created_at=to_datetime(row.created_at),
    )
