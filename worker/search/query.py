"""A search on its way through the stages: what it is asked with, and what was found so far."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from shared.contracts import SearchOptions
from shared.filters import Filter
from shared.searches.cursors import Cursor
from shared.searches.queue import Claim, StoredEmbeddings
from worker.calibration.calibration_store import Calibration
from worker.indexes.versions import IndexVersion
from worker.search.boosting import Boosting
from worker.search.grouping import Candidate
from worker.vector_index.contract import IndexHit
from worker.vision import Detection, Embeddings, Image
from worker.vision.pipeline import Pipeline

#: A product has several rows (one an image), so more are fetched than products are wanted.
OVER_FETCH = 4
MIN_ROWS = 32
#: Rows that every further page reads, whatever its number, so that all pages agree on the order.
PAGED_ROWS = 1024
MOST_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Page:
    """A page after the first.

    Attributes:
        cursor: where it begins.
        size: products of a group on the first page.
        seen: those of each group, objects first, the whole image last.
    """

    cursor: Cursor
    size: int
    seen: list[set[str]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where searches of a catalogue go, and what its owner says of their answers."""

    live: IndexVersion
    calibration: Calibration | None
    boosting: Boosting


@dataclass(slots=True)
class Query:
    """A claimed search on its way through the stages.

    Attributes:
        filter: category and filter together.
        boosting: what moves hits among their like.
        calibration: what the scores mean; None where they are not those of a photo alone.
        page: None for the first page.
        without: products that are not wanted in the answer.
        objects: what its photo shows.
        embeddings: ``(N, D)``: of each object and of the whole image last, or of a product's pictures.
        picture_ids: of those pictures.
        kept: what is to be kept with the search; None where nothing new is known.
        limit: rows that are asked for each embedding.
        hits: neighbours of each embedding.
        chosen: of each group, whole image last.
        voters: nearest products of each group, which tell its category.
        more: whether a group may have more than was chosen.
    """

    claim: Claim
    live: IndexVersion
    pipeline: Pipeline
    models: int
    filter: Filter | None
    boosting: Boosting
    calibration: Calibration | None
    page: Page | None = None
    without: frozenset[str] = frozenset()
    photos: list[Image] = field(default_factory=list)
    objects: tuple[Detection, ...] = ()
    embeddings: Embeddings = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    picture_ids: tuple[str, ...] = ()
    kept: StoredEmbeddings | None = None
    limit: int = MIN_ROWS
    hits: list[list[IndexHit]] = field(default_factory=list)
    chosen: list[list[Candidate]] = field(default_factory=list)
    voters: list[list[Candidate]] = field(default_factory=list)
    more: list[Cursor | None] = field(default_factory=list)
    timings_ms: dict[str, float] = field(default_factory=dict)

    @property
    def options(self) -> SearchOptions:
        return self.claim.options

    @property
    def groups(self) -> list[list[int]]:
        """Which embeddings ask for each group: one an object, and the rest for the whole image."""
        objects = len(self.objects)
        return [*([n] for n in range(objects)), list(range(objects, len(self.embeddings)))]

    @property
    def doubtful(self) -> frozenset[int]:
        """Numbers of the objects that the detector is not sure of; none of those that a person drew."""
        if self.options.box is not None:
            return frozenset()
        return frozenset(n for n, seen in enumerate(self.objects) if self.pipeline.is_doubtful(seen))

    @property
    def window(self) -> int:
        """How many of the nearest rows boosts move: as many as the first page asked for at first."""
        return first_limit(self.options.top_k if self.page is None else self.page.size)

    def spent(self, stage: str, ms: float) -> None:
        self.timings_ms[stage] = self.timings_ms.get(stage, 0.0) + ms


@contextmanager
def clocked(queries: Sequence[Query], stage: str) -> Iterator[None]:
    """Add what the block takes to the stage of each query: what its batch took is what it waited."""
    started = time.perf_counter()
    yield
    for query in queries:
        query.spent(stage, 1000 * (time.perf_counter() - started))


def first_limit(top_k: int) -> int:
    """Return how many rows a first page asks for at first."""
    return min(max(top_k * OVER_FETCH, MIN_ROWS), MOST_ROWS)
