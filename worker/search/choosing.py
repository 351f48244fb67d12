"""Choose which products an answer shows, in which group and on which page. Pure: no index, no database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice

from shared.searches.cursors import WHOLE, Cursor
from worker.calibration.calibration_store import VOTERS
from worker.search.locating import first_limit
from worker.search.stages import Candidate, Choice, Groups, MatchedQuery, Page, RankedQuery
from worker.vector_index.contract import IndexHit

#: Scores are -1 to 1, times 2 at most.
_BELOW = 4.0


def to_shown(score: float) -> float:
    """Return a cosine as answers show it."""
    return round(min(score, 1.0), 5)


def best_two(hits: Sequence[IndexHit]) -> tuple[float, float | None]:
    """Return the scores of the best product and of the next best other one, as shown.

    Args:
        hits: neighbours of one embedding, best first, at least one.
    """
    second = next((hit for hit in hits if hit.product_id != hits[0].product_id), None)
    return to_shown(hits[0].score), None if second is None else to_shown(second.score)


def rank(query: MatchedQuery, min_scores: list[float | None]) -> RankedQuery:
    """Rank the candidates of each group by score."""
    groups = [
        rank_candidates([(n, query.hits[n]) for n in numbers], min_score, query.embedded.excluded)
        for numbers, min_score in zip(query.embedded.groups, min_scores, strict=True)
    ]
    return RankedQuery(query, min_scores, groups, groups)


def rank_candidates(
    parts: Sequence[tuple[int, Sequence[IndexHit]]],
    min_score: float | None,
    excluded: Collection[str] = (),
) -> list[Candidate]:
    """Return the best row of each product, best first; ties in the order of the product's id.

    Args:
        parts: number and neighbours of each embedding that the group is searched with.
        min_score: compared with the score as it is shown, so that a score copied from an answer is a limit
            that includes it.
        excluded: products to leave out.
    """
    best: dict[str, Candidate] = {}
    for source, hits in parts:
        for rank, hit in enumerate(hits):
            score = to_shown(hit.score)
            if (min_score is not None and score < min_score) or hit.product_id in excluded:
                continue
            known = best.get(hit.product_id)
            if known is None or (-score, hit.image_id) < (-known.score, known.image_id):
                best[hit.product_id] = Candidate(
                    hit.product_id, hit.image_id, hit.number, score, source, rank, score
                )
    return sorted(best.values(), key=_sort_key)


def boost_window(query: MatchedQuery) -> int:
    """Return how many of the nearest rows boosts move: as many as the first page requested at first."""
    page = query.query.page
    return first_limit(query.query.claim.options.top_k if page is None else page.size)


def apply_boosts(query: RankedQuery, factor: Callable[[Candidate], float]) -> RankedQuery:
    """Reorder the candidates by score times factor, so that every page agrees on the order.

    Args:
        factor: 0.5 to 2.
    """
    window = boost_window(query.matched)
    return replace(query, ordered=[_boost(group, factor, window) for group in query.nearest])


def _boost(group: Sequence[Candidate], factor: Callable[[Candidate], float], window: int) -> list[Candidate]:
    """Reorder the ``window`` nearest rows of each embedding; the rest follows in its order.

    The window must not depend on how many rows were fetched.
    """
    near = [c._replace(order=_multiply(c.score, factor(c))) for c in group if c.rank < window]
    # Below any boosted score.
    far = [c._replace(order=c.score - _BELOW) for c in group if c.rank >= window]
    return sorted([*near, *far], key=_sort_key)


def _multiply(score: float, factor: float) -> float:
    return round(score * factor if score >= 0 else score / factor, 5)


def list_eligible(query: RankedQuery) -> list[Candidate]:
    """Return all candidates that ``choose`` may show, if others are not available."""
    page = query.matched.query.page
    if page is None:
        return list(chain.from_iterable(query.ordered))
    return list(islice(_iterate_following(query, page), page.cursor.offset, None))


def choose(query: RankedQuery, is_available: Callable[[Candidate], bool]) -> Choice:
    """Choose what the page shows.

    Args:
        is_available: whether a product still exists and passes the filter.
    """
    page = query.matched.query.page
    return _choose_first(query, is_available) if page is None else _choose_next(query, page, is_available)


def _choose_first(query: RankedQuery, is_available: Callable[[Candidate], bool]) -> Choice:
    embedded, claim = query.matched.embedded, query.matched.query.claim
    size, repeat = claim.options.top_k, claim.options.repeat
    groups = [[c for c in group if is_available(c)] for group in query.ordered]
    nothing: list[list[Candidate]] = [[] for _ in groups]
    chosen = next(pages(groups, size, repeat, apart=embedded.doubtful), nothing)
    shown = [{c.product_id for c in part} for part in chosen]
    # Doubtful objects and the whole image have their own nearest products, whatever the others show.
    alone = {*embedded.doubtful, len(groups) - 1}
    by_objects = set().union(*(part for n, part in enumerate(shown) if n not in alone))
    following: list[Cursor | None] = []
    for n, group in enumerate(groups):
        hidden = shown[n] if repeat or n in alone else by_objects
        continues = any(c.product_id not in hidden for c in group) or may_have_more(query, n)
        number = WHOLE if n == len(groups) - 1 else n
        following.append(Cursor(claim.id, number, 0) if continues else None)
    return Choice(chosen, [group[:VOTERS] for group in query.nearest], following)


def _choose_next(query: RankedQuery, page: Page, is_available: Callable[[Candidate], bool]) -> Choice:
    top_k, cursor = query.matched.query.claim.options.top_k, page.cursor
    chosen: list[list[Candidate]] = [[] for _ in query.ordered]
    following: list[Cursor | None] = [None for _ in query.ordered]
    group = _group_of(cursor, len(chosen))
    following_candidates = islice(_iterate_following(query, page), cursor.offset, None)
    for position, candidate in enumerate(following_candidates, start=cursor.offset):
        if len(chosen[group]) == top_k:
            following[group] = Cursor(cursor.search, cursor.group, position)
            break
        if is_available(candidate):
            chosen[group].append(candidate)
    return Choice(chosen, [], following)


def _iterate_following(query: RankedQuery, page: Page) -> Iterator[Candidate]:
    """Yield the candidates of the cursor's group after the first page.

    Every cursor goes through the same pages, and counts off the products of its group.
    """
    embedded, options = query.matched.embedded, query.matched.query.claim.options
    group = _group_of(page.cursor, len(query.ordered))
    rest = pages(query.ordered, page.size, options.repeat, page.seen, embedded.doubtful)
    return chain.from_iterable(made[group] for made in rest)


def _group_of(cursor: Cursor, count: int) -> int:
    return count - 1 if cursor.group == WHOLE else min(cursor.group, count - 1)


def is_short(query: RankedQuery, choice: Choice) -> bool:
    """Return whether a group of a first page has room, and the index may have more rows for it."""
    if query.matched.query.page is not None:
        return False
    size = query.matched.query.claim.options.top_k
    return any(len(chosen) < size and may_have_more(query, n) for n, chosen in enumerate(choice.chosen))


def may_have_more(query: RankedQuery, group: int) -> bool:
    """Return whether the index was not asked for all rows that it may have for a group."""
    matched, min_score = query.matched, query.min_scores[group]
    parts = [matched.hits[n] for n in matched.embedded.groups[group]]
    return any(
        len(part) >= matched.limit and (min_score is None or to_shown(part[-1].score) >= min_score)
        for part in parts
    )


def pages(
    groups: Groups,
    size: int,
    repeat: bool,
    seen: Sequence[Collection[str]] = (),
    apart: Collection[int] = (),
) -> Iterator[list[list[Candidate]]]:
    """Yield page after page of all groups, until nothing is left.

    A product is once in all pages of all objects: they choose by score, so that it goes to the one it is
    most similar to of those that have room. The whole image has its own nearest products; with ``repeat``
    each object has too. A page does not change when candidates further away are added to a group that
    filled it.

    Args:
        size: maximum number of products of a group on a page.
        seen: products of each group that earlier pages showed.
        apart: numbers of objects that take no product from the others, and from which none takes any.
    """
    taken = _taken(len(groups), repeat, seen, apart)
    offers = _sort_offers(groups)
    while any(page := _page(len(groups), offers, size, taken)):
        yield page


def _taken(
    count: int, repeat: bool, seen: Sequence[Collection[str]], apart: Collection[int]
) -> list[set[str]]:
    """Return a set of products for each group: its own, or one shared by all objects not apart."""
    own = [set(seen[n]) if n < len(seen) else set() for n in range(count)]
    if repeat:
        return own
    alone = {*apart, count - 1}
    together = set().union(*(own[n] for n in range(count) if n not in alone))
    return [own[n] if n in alone else together for n in range(count)]


def _sort_offers(groups: Groups) -> list[tuple[Candidate, int]]:
    """Return each candidate with its group: those of all objects, best first, then of the whole image."""
    *objects, whole = range(len(groups))
    offers = [(candidate, n) for n in objects for candidate in groups[n]]
    offers.sort(key=lambda offer: (_sort_key(offer[0]), offer[1]))
    return offers + [(candidate, whole) for candidate in groups[whole]]


def _page(
    count: int, offers: Sequence[tuple[Candidate, int]], size: int, taken: Sequence[set[str]]
) -> list[list[Candidate]]:
    page: list[list[Candidate]] = [[] for _ in range(count)]
    for candidate, n in offers:
        if len(page[n]) < size and candidate.product_id not in taken[n]:
            taken[n].add(candidate.product_id)
            page[n].append(candidate)
    return page


def _sort_key(candidate: Candidate) -> tuple[float, str]:
    return -candidate.order, candidate.product_id
