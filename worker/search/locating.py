"""Locate claimed searches: find each catalogue's live index version, its models, filter and first limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from sqlalchemy import bindparam, select

from shared.contracts import SearchOptions
from shared.contracts.states import IndexState
from shared.database import Database
from shared.database.tables import Calibration as CalibrationRow
from shared.database.tables import IndexVersionRow, Ranking
from shared.errors import Conflict, InvalidInput, NotFound, Unavailable, VitrineError
from shared.filters import Filter, both, category_is, parse
from shared.searches.cursors import read_cursor
from shared.searches.queue import Claim, SearchQueue
from worker.calibration.calibration_store import Calibration, Calibrations
from worker.indexes.pipelines import Pipelines
from worker.indexes.versions import LIVE_COLUMNS, IndexVersion, model_version_id
from worker.search.boosting import NO_BOOSTS, Boosting
from worker.search.embedding_reuse import reuse, validate_stored
from worker.search.stages import Models, Page, Query, SearchTarget
from worker.vision.pipeline import Pipeline

Item = TypeVar("Item")
Result = TypeVar("Result")

#: A product has several rows, one per image, so more rows are fetched than products are shown.
OVER_FETCH = 4
MIN_ROWS = 32
#: Rows per embedding of further pages, whatever their size, so that all pages agree on the order.
PAGED_ROWS = 1024
MAX_ROWS = 4096

#: Live version, creation time of its calibration, and the owner's boosts. One statement, because every batch
#: executes it; built at import, because constructing it costs more than executing it.
_TARGET = (
    select(*LIVE_COLUMNS, CalibrationRow.created_at.label("calibrated_at"), Ranking.boosts)
    .outerjoin(CalibrationRow, CalibrationRow.index_version == IndexVersionRow.id)
    .outerjoin(Ranking, Ranking.catalogue_id == IndexVersionRow.catalogue_id)
    .where(IndexVersionRow.catalogue_id == bindparam("catalogue"), IndexVersionRow.state == IndexState.LIVE)
)


@dataclass(frozen=True)
class QueryLocator:
    """Makes queries of claims.

    Attributes:
        model_ids: cache of the row ids of model versions.
    """

    database: Database
    queue: SearchQueue
    pipelines: Pipelines
    calibrations: Calibrations
    model_ids: dict[tuple[str, str], int] = field(default_factory=dict)

    def locate(self, claims: Sequence[Claim], fail: Callable[[Claim, VitrineError], None]) -> list[Query]:
        """Return the queries of a batch; a search that fails alone is given to ``fail`` and left out.

        Raises:
            Unavailable: all searches of the batch wait for a service.
        """
        targets: dict[int, SearchTarget | None] = {}
        return apply_each(claims, lambda claim: self._locate(claim, targets), fail)

    def _locate(self, claim: Claim, targets: dict[int, SearchTarget | None]) -> Query:
        """Return the query of a claim; ``targets`` caches those of the batch by catalogue id."""
        if claim.catalogue_id not in targets:
            targets[claim.catalogue_id] = self._load_target(claim.catalogue_id)
        target = targets[claim.catalogue_id]
        if target is None:
            raise NotFound(f"Catalogue {claim.catalogue!r} is empty: import products first.")
        if claim.stored is not None:
            claim = replace(claim, stored=validate_stored(claim.stored, target.live.dim))
        options = claim.options
        pipeline = self.pipelines.of(target.live)
        models = self._load_models(pipeline)
        page = None if options.after is None else self._load_page(options.after)
        reused = None
        if claim.stored is not None and claim.stored.models == models.id:
            reused = reuse(claim.stored, options)
        return Query(
            claim,
            target.live,
            pipeline,
            models,
            combine_filters(options),
            target.boosting if options.boosts is None else Boosting.of(options.boosts),
            _choose_calibration(claim, target),
            first_limit(options.top_k) if page is None else page_limit(page),
            page,
            reused,
        )

    def _load_target(self, catalogue_id: int) -> SearchTarget | None:
        with self.database.read_connection() as connection:
            row = connection.execute(_TARGET, {"catalogue": catalogue_id}).one_or_none()
            if row is None:
                return None
            live = IndexVersion(*row[: len(LIVE_COLUMNS)])
            calibration = self.calibrations.of(connection, live, row.calibrated_at)
        return SearchTarget(
            live, calibration, NO_BOOSTS if row.boosts is None else Boosting.stored(row.boosts)
        )

    def _load_page(self, after: str) -> Page:
        cursor = read_cursor(after)
        first = self.queue.first_page(cursor.search)
        if first is None or not -1 <= cursor.group < len(first.result.objects):
            raise InvalidInput("The search that this page belongs to is gone: search again.", "after")
        groups = [*(found.hits for found in first.result.objects), first.result.whole.hits]
        return Page(cursor, first.options.top_k, [{hit.product_id for hit in hits} for hits in groups])

    def _load_models(self, pipeline: Pipeline) -> Models:
        versions = pipeline.detector.version, pipeline.embedder.version
        if versions not in self.model_ids:
            with self.database.write() as session:
                self.model_ids[versions] = model_version_id(session, *versions)
        return Models(self.model_ids[versions], *versions)


def apply_each(
    items: Sequence[Item], step: Callable[[Item], Result], fail: Callable[[Item, VitrineError], None]
) -> list[Result]:
    """Return the results of a step; an item that fails alone is given to ``fail`` and left out."""
    done = []
    for item in items:
        try:
            done.append(step(item))
        except Unavailable:
            raise
        except VitrineError as error:
            fail(item, error)
    return done


def _choose_calibration(claim: Claim, target: SearchTarget) -> Calibration | None:
    """Return the meaning of a search's scores.

    Only scores of photos are calibrated. A product's own pictures, and queries that examples moved, have
    other distributions.

    Raises:
        Conflict: a probability is asked for, and the catalogue has no calibration.
    """
    options = claim.options
    by_photo = bool(claim.photos) and not options.like and not options.unlike
    found = target.calibration if by_photo else None
    if options.min_probability is not None and found is None:
        why = (
            f"Catalogue {claim.catalogue!r} is not calibrated: `vitrine calibrate {claim.catalogue}` does it"
            if by_photo
            else "Only searches by photo alone have probabilities"
        )
        raise Conflict(f"{why}. `min_score` works without.", "min_probability")
    return found


def combine_filters(options: SearchOptions) -> Filter | None:
    """Return category and filter of a search combined; None where it has neither.

    Raises:
        InvalidInput: the filter cannot be read.
    """
    filter_ = None if options.filter is None else parse(options.filter)
    return filter_ if options.category is None else both(category_is(options.category), filter_)


def first_limit(top_k: int) -> int:
    """Return how many rows per embedding a first page requests at first."""
    return min(max(top_k * OVER_FETCH, MIN_ROWS), MAX_ROWS)


def page_limit(page: Page) -> int:
    """Return how many rows per embedding a further page requests."""
    return min(max(PAGED_ROWS, page.size * OVER_FETCH), MAX_ROWS)
