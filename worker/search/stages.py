"""The stages of a search in a worker, one type each.

``Claim`` (in ``shared.searches.queue``) -> ``Query`` -> ``DecodedQuery`` -> ``EmbeddedQuery`` ->
``MatchedQuery`` -> ``RankedQuery`` -> ``Choice`` -> ``SearchResult``. Each is complete when it is made, and
never changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from shared.filters import Filter
from shared.searches.cursors import Cursor
from shared.searches.queue import Claim, StoredEmbeddings
from worker.calibration.calibration_store import Calibration
from worker.indexes.versions import IndexVersion
from worker.search.boosting import Boosting
from worker.vector_index.contract import IndexHit
from worker.vision import Detection, Embeddings, Image
from worker.vision.pipeline import Pipeline, QueryEmbedding


@dataclass(frozen=True, slots=True)
class Page:
    """A page after the first.

    Attributes:
        cursor: where it begins.
        size: products per group on the first page.
        seen: product ids of each group on the first page, objects first, the whole image last.
    """

    cursor: Cursor
    size: int
    seen: list[set[str]]


@dataclass(frozen=True, slots=True)
class SearchTarget:
    """Where searches of a catalogue go, and how their hits are rated."""

    live: IndexVersion
    calibration: Calibration | None
    boosting: Boosting


class Models(NamedTuple):
    """Versions of the models of a pipeline, and the id of their row."""

    id: int
    detector: str
    embedder: str


@dataclass(frozen=True, slots=True)
class Query:
    """Stage 1: a claimed search, located in an index version.

    Attributes:
        filter: category and filter combined.
        boosting: boosts of the request, or of the catalogue.
        calibration: meaning of the scores; None where they are not those of photos alone.
        limit: rows per embedding that the index is asked for at first.
        page: None for the first page.
        reused: embeddings that an earlier search stored and that fit this one; None to run the models.
        timings_ms: measured duration by stage; the only part that grows.
    """

    claim: Claim
    live: IndexVersion
    pipeline: Pipeline
    models: Models
    filter: Filter | None
    boosting: Boosting
    calibration: Calibration | None
    limit: int
    page: Page | None = None
    reused: QueryEmbedding | None = None
    timings_ms: dict[str, float] = field(default_factory=dict)


class DecodedQuery(NamedTuple):
    """Stage 2: a query that needs the models, with its photos as ``(H, W, 3) uint8`` RGB."""

    query: Query
    photos: list[Image]


@dataclass(frozen=True, slots=True)
class EmbeddedQuery:
    """Stage 3: a query with its embeddings.

    Attributes:
        objects: detections of its photo.
        embeddings: ``(N, D)``: of each object, and of the whole image last; or of a product's pictures.
        groups: numbers of the embeddings that each group of the answer is searched with: one per object,
            and the remaining ones for the whole image.
        doubtful: numbers of the objects below the detector's normal confidence; never a drawn box.
        picture_ids: image id of each embedding of a product's pictures.
        excluded: ids of products that the answer leaves out.
        to_store: what to store with the search; None where nothing new is known.
    """

    query: Query
    objects: tuple[Detection, ...]
    embeddings: Embeddings
    groups: list[list[int]]
    doubtful: frozenset[int]
    picture_ids: tuple[str, ...] = ()
    excluded: frozenset[str] = frozenset()
    to_store: StoredEmbeddings | None = None


@dataclass(frozen=True, slots=True)
class MatchedQuery:
    """Stage 4: a query with its neighbours in the index.

    Attributes:
        limit: rows that were requested per embedding.
        hits: neighbours of each embedding, best first.
    """

    query: Query
    embedded: EmbeddedQuery
    limit: int
    hits: list[list[IndexHit]]


class Candidate(NamedTuple):
    """A product's best row in a group.

    Attributes:
        score: as it is shown.
        source: number of the query's embedding that the row is near to.
        rank: of the row among that embedding's neighbours, from 0.
        order: sort key, descending; the score, unless boosts change it.
    """

    product_id: str
    image_id: str
    number: int
    score: float
    source: int
    rank: int
    order: float


#: Candidates of each object, and of the whole image last; best first, each product once per group.
Groups = Sequence[Sequence[Candidate]]


@dataclass(frozen=True, slots=True)
class RankedQuery:
    """Stage 5: a query with its candidates.

    Attributes:
        min_scores: score of each group below which hits are left out; None: no minimum.
        nearest: candidates by score.
        ordered: candidates in the order of the answer: ``nearest``, or reordered by boosts.
    """

    matched: MatchedQuery
    min_scores: list[float | None]
    nearest: Groups
    ordered: Groups


@dataclass(frozen=True, slots=True)
class Choice:
    """Stage 6: what the answer shows.

    Attributes:
        chosen: candidates of each group that are shown.
        voters: nearest candidates of each group, which predict its category; none on further pages.
        following: start of each group's next page; None where nothing follows.
    """

    chosen: Groups
    voters: Groups
    following: list[Cursor | None]
