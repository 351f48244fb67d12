"""From neighbours to an answer: which products each group shows, looked up and put together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain

from shared.contracts import FoundObject, Hit, SearchResult, WholeImage
from shared.cursors import WHOLE, Cursor
from shared.database import Database
from shared.filters import written_as
from worker.grouping import Candidate, candidates, pages, shown
from worker.hydrate import Hydrator, unit_box
from worker.queries import Page, Query


class Choosing:
    """Chooses what a batch of queries shows, and reads of the database only what is shown.

    Args:
        queries: the batch.
    """

    def __init__(self, database: Database, queries: Sequence[Query]) -> None:
        self._hydrators: dict[int, Hydrator] = {}
        filtered = {query.live.id for query in queries if query.filter is not None}
        for query in queries:
            claim, version = query.claim, query.live.id
            if version not in self._hydrators:
                self._hydrators[version] = Hydrator(
                    database, claim.catalogue_id, version, claim.currency, filtered=version in filtered
                )

    def hydrator(self, query: Query) -> Hydrator:
        return self._hydrators[query.live.id]

    def choose(self, queries: Sequence[Query]) -> None:
        """Set ``chosen`` and ``more`` of each query.

        What is unknown is taken to be there, then read, all of a catalogue at once; where something was
        gone or no longer passes, the next nearest take its place.
        """
        while True:
            unknown: dict[int, list[Candidate]] = defaultdict(list)
            for query in queries:
                self._pick(query)
                hydrator = self.hydrator(query)
                unknown[query.live.id] += [
                    c for c in chain.from_iterable(query.chosen) if not hydrator.knows(c)
                ]
            if not any(unknown.values()):
                return
            for version, wanted in unknown.items():
                if wanted:
                    self._hydrators[version].load(wanted)

    def is_short(self, query: Query) -> bool:
        """Whether a group of a first page has room, and the index may have more for it."""
        if query.page is not None:
            return False
        size = query.options.top_k
        return any(
            len(chosen) < size and _goes_on(query, numbers)
            for chosen, numbers in zip(query.chosen, query.groups, strict=True)
        )

    def _pick(self, query: Query) -> None:
        groups = [
            candidates([(n, query.hits[n]) for n in numbers], query.options.min_score, query.without)
            for numbers in query.groups
        ]
        if query.page is None:
            self._first_page(query, groups)
        else:
            self._next_page(query, groups, query.page)

    def _first_page(self, query: Query, groups: list[list[Candidate]]) -> None:
        alive = [[c for c in group if self._may_be_shown(query, c)] for group in groups]
        size, repeat = query.options.top_k, query.options.repeat
        query.chosen = next(pages(alive, size, repeat), [[] for _ in groups])
        seen = [{c.product_id for c in part} for part in query.chosen]
        of_objects = set().union(*seen[:-1])
        query.more = []
        for n, numbers in enumerate(query.groups):
            hidden = seen[n] if repeat or n == len(query.objects) else of_objects
            left = any(c.product_id not in hidden for c in alive[n]) or _goes_on(query, numbers)
            group = WHOLE if n == len(query.objects) else n
            query.more.append(Cursor(query.claim.id, group, 0) if left else None)

    def _next_page(self, query: Query, groups: list[list[Candidate]], page: Page) -> None:
        """The same pages are made for every cursor, and the wanted group's products counted off."""
        cursor = page.cursor
        group = len(groups) - 1 if cursor.group == WHOLE else min(cursor.group, len(groups) - 1)
        rest = pages(groups, page.size, query.options.repeat, page.seen)
        line: Iterator[Candidate] = chain.from_iterable(made[group] for made in rest)
        query.chosen = [[] for _ in groups]
        query.more = [None for _ in groups]
        for position, candidate in enumerate(line):
            if position < cursor.offset:
                continue
            if len(query.chosen[group]) == query.options.top_k:
                query.more[group] = Cursor(cursor.search, cursor.group, position)
                return
            if self._may_be_shown(query, candidate):
                query.chosen[group].append(candidate)

    def _may_be_shown(self, query: Query, candidate: Candidate) -> bool:
        hydrator = self.hydrator(query)
        return not hydrator.knows(candidate) or hydrator.keeps(candidate, query.filter)


def _goes_on(query: Query, numbers: Sequence[int]) -> bool:
    """Whether the index was not asked for all that it may have for these embeddings."""
    least = query.options.min_score
    parts = [query.hits[n] for n in numbers]
    return any(
        len(part) >= query.limit and (least is None or shown(part[-1].score) >= least) for part in parts
    )


def answer_of(query: Query, hydrator: Hydrator) -> SearchResult:
    """Put the answer together, but for its timings."""
    claim = query.claim
    boxes = [unit_box(found.box) for found in query.objects]
    places = [*boxes, (0.0, 0.0, 1.0, 1.0) if claim.photos else None]

    def hits(n: int) -> list[Hit]:
        pictures = query.picture_ids
        return [
            hydrator.hit(c, query.options.locale, places[n], pictures[c.source] if pictures else None)
            for c in query.chosen[n]
        ]

    following = [None if cursor is None else cursor.text() for cursor in query.more]
    found = [
        FoundObject(
            box=box,
            label=seen.label,
            confidence=round(seen.confidence, 4),
            hits=hits(n),
            next=following[n],
        )
        for n, (box, seen) in enumerate(zip(boxes, query.objects, strict=True))
    ]
    if query.page is not None:
        group = query.page.cursor.group
        found = [] if group == WHOLE else found[group : group + 1]
    return SearchResult(
        query_id=claim.id,
        catalogue=claim.catalogue,
        filter=None if query.filter is None else written_as(query.filter),
        objects=found,
        whole=WholeImage(hits=hits(len(boxes)), next=following[-1]),
        timings_ms={},
        models={
            **query.pipeline.versions,
            "index": query.live.collection,
            "index_version": str(query.live.number),
        },
    )
