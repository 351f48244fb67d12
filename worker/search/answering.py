"""From neighbours to an answer: which products each group shows, looked up and put together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain

from shared.contracts import FoundObject, Hit, SearchResult, WholeImage
from shared.contracts.search import Explanation, PredictedCategory
from shared.database import Database
from shared.filters import format_filter
from shared.searches.cursors import WHOLE, Cursor
from worker.calibration.category import SPREAD, VOTERS, predict_category
from worker.search.boosting import factor_of
from worker.search.grouping import Candidate, boosted, candidates, pages, shown
from worker.search.hydrate import Hydrator, unit_box
from worker.search.probabilities import DIGITS, min_score, sure_of
from worker.search.query import Page, Query


class Choosing:
    """Chooses what a batch of queries shows, and reads of the database only what is shown.

    Args:
        queries: the batch.
    """

    def __init__(self, database: Database, queries: Sequence[Query]) -> None:
        self._hydrators: dict[int, Hydrator] = {}
        filtered = {query.live.id for query in queries if query.filter is not None or query.boosting.boosts}
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
        near = [_near(query) for query in queries]
        while True:
            unknown: dict[int, list[Candidate]] = defaultdict(list)
            for query, groups in zip(queries, near, strict=True):
                self._pick(query, groups)
                hydrator = self.hydrator(query)
                unknown[query.live.id] += [c for c in _wanted(query) if not hydrator.knows(c)]
            if not any(unknown.values()):
                return
            for version, missing in unknown.items():
                if missing:
                    self._hydrators[version].load(missing)
            if all(self._may_be_shown(query, c) for query in queries for c in _wanted(query)):
                return  # nothing has to take another's place

    def is_short(self, query: Query) -> bool:
        """Whether a group of a first page has room, and the index may have more for it."""
        if query.page is not None:
            return False
        size = query.options.top_k
        return any(len(chosen) < size and _goes_on(query, group) for group, chosen in enumerate(query.chosen))

    def _pick(self, query: Query, groups: list[list[Candidate]]) -> None:
        if query.page is None:
            query.voters = [group[:VOTERS] for group in groups]
        if query.boosting.boosts:
            groups = self._boosted(query, groups)
        if query.page is None:
            self._first_page(query, groups)
        else:
            self._next_page(query, groups, query.page)

    def _boosted(self, query: Query, groups: list[list[Candidate]]) -> list[list[Candidate]]:
        """What boosts ask is read of all that is near, at once; what is known already is not read again."""
        hydrator, window = self.hydrator(query), query.window
        near = [c for group in groups for c in group if c.place < window and not hydrator.knows(c)]
        if near:
            hydrator.load(near)

        def factor(candidate: Candidate) -> float:
            return factor_of(hydrator.boosts(candidate, query.boosting))

        return [boosted(group, factor, window) for group in groups]

    def _first_page(self, query: Query, groups: list[list[Candidate]]) -> None:
        alive = [[c for c in group if self._may_be_shown(query, c)] for group in groups]
        size, repeat = query.options.top_k, query.options.repeat
        # Doubtful objects and the whole image have their own nearest products, whatever the others have.
        alone = {*query.doubtful, len(query.objects)}
        query.chosen = next(pages(alive, size, repeat, apart=query.doubtful), [[] for _ in groups])
        seen = [{c.product_id for c in part} for part in query.chosen]
        of_objects = set().union(*(part for n, part in enumerate(seen) if n not in alone))
        query.more = []
        for n in range(len(groups)):
            hidden = seen[n] if repeat or n in alone else of_objects
            left = any(c.product_id not in hidden for c in alive[n]) or _goes_on(query, n)
            group = WHOLE if n == len(query.objects) else n
            query.more.append(Cursor(query.claim.id, group, 0) if left else None)

    def _next_page(self, query: Query, groups: list[list[Candidate]], page: Page) -> None:
        """The same pages are made for every cursor, and the wanted group's products counted off."""
        cursor = page.cursor
        group = len(groups) - 1 if cursor.group == WHOLE else min(cursor.group, len(groups) - 1)
        rest = pages(groups, page.size, query.options.repeat, page.seen, query.doubtful)
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


def _wanted(query: Query) -> Iterator[Candidate]:
    return chain.from_iterable([*query.chosen, *query.voters])


def _near(query: Query) -> list[list[Candidate]]:
    """The candidates of each group, as the index has them."""
    return [
        candidates([(n, query.hits[n]) for n in numbers], min_score(query, group), query.without)
        for group, numbers in enumerate(query.groups)
    ]


def _goes_on(query: Query, group: int) -> bool:
    """Whether the index was not asked for all that it may have for a group's embeddings."""
    least = min_score(query, group)
    parts = [query.hits[n] for n in query.groups[group]]
    return any(
        len(part) >= query.limit and (least is None or shown(part[-1].score) >= least) for part in parts
    )


def answer_of(query: Query, hydrator: Hydrator) -> SearchResult:
    """Put the answer together, but for its timings."""
    claim = query.claim
    boxes = [unit_box(found.box) for found in query.objects]
    places = [*boxes, (0.0, 0.0, 1.0, 1.0) if claim.photos else None]

    sures = sure_of(query)

    def hits(n: int) -> list[Hit]:
        pictures = query.picture_ids
        return [
            hydrator.hit(
                c,
                query.options.locale,
                places[n],
                pictures[c.source] if pictures else None,
                sure,
                _explained(query, hydrator, c),
            )
            for c, sure in zip(query.chosen[n], sures[n], strict=True)
        ]

    doubtful = query.doubtful
    following = [None if cursor is None else cursor.text() for cursor in query.more]
    found = [
        FoundObject(
            box=box,
            label=seen.label,
            confidence=round(seen.confidence, 4),
            doubtful=n in doubtful,
            hits=hits(n),
            category=_category(query, hydrator, n),
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
        filter=None if query.filter is None else format_filter(query.filter),
        calibration=None if query.calibration is None else query.calibration.source,
        objects=found,
        whole=WholeImage(
            hits=hits(len(boxes)), category=_category(query, hydrator, len(boxes)), next=following[-1]
        ),
        timings_ms={},
        models={
            **query.pipeline.versions,
            "index": query.live.collection,
            "index_version": str(query.live.number),
        },
    )


def _explained(query: Query, hydrator: Hydrator, candidate: Candidate) -> Explanation | None:
    if not query.boosting.boosts:
        return None
    if candidate.place >= query.window:
        return Explanation(ordered_by=candidate.score, boosts=[])
    return Explanation(ordered_by=candidate.order, boosts=list(hydrator.boosts(candidate, query.boosting)))


def _category(query: Query, hydrator: Hydrator, group: int) -> PredictedCategory | None:
    """What the nearest products are; further pages do not say it again."""
    if query.page is not None:
        return None
    if query.options.category is not None:
        return PredictedCategory(value=query.options.category, confidence=1.0, given=True)
    voters = [(hydrator.category(c), c.score) for c in query.voters[group] if hydrator.keeps(c, None)]
    spread = SPREAD if query.calibration is None else query.calibration.spread
    found = predict_category(voters, spread)
    if found is None:
        return None
    return PredictedCategory(value=found[0], confidence=round(found[1], DIGITS), given=False)
