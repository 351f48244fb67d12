"""Which products go into which group of an answer, and on which page. Pure: no index, no database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from worker.vector_index.contract import IndexHit

#: Scores are -1 to 1, times 2 at most.
_BELOW = 4.0


class Candidate(NamedTuple):
    """A product's best row in a group.

    Attributes:
        score: as it is shown.
        source: which of the query's embeddings it is near to.
        place: of its row among that embedding's neighbours, from 0.
        order: what it is ordered by; the score, unless boosts have a say.
    """

    product_id: str
    image_id: str
    number: int
    score: float
    source: int
    place: int
    order: float


#: Candidates of each object, and of the whole image last; best first, each product once in a group.
Groups = Sequence[Sequence[Candidate]]


def shown(score: float) -> float:
    """Return a cosine as answers show it."""
    return round(min(score, 1.0), 5)


def candidates(
    parts: Sequence[tuple[int, Sequence[IndexHit]]], least: float | None, without: Collection[str] = ()
) -> list[Candidate]:
    """Return the best row of each product, best first; ties in the order of the product's id.

    Args:
        parts: neighbours of the embeddings that ask for the group, each with its number.
        least: a score below it is left out. Compared as it is shown, so that a score taken from an answer
            is a limit that includes it.
        without: products that are not wanted.
    """
    best: dict[str, Candidate] = {}
    for source, hits in parts:
        for place, hit in enumerate(hits):
            score = shown(hit.score)
            if (least is not None and score < least) or hit.product_id in without:
                continue
            known = best.get(hit.product_id)
            if known is None or (-score, hit.image_id) < (-known.score, known.image_id):
                best[hit.product_id] = Candidate(
                    hit.product_id, hit.image_id, hit.number, score, source, place, score
                )
    return sorted(best.values(), key=_order)


def best_two(hits: Sequence[IndexHit]) -> tuple[float, float | None]:
    """Return the scores of the best product and of the next best other one, as shown.

    Args:
        hits: neighbours of one embedding, the best first, at least one.
    """
    second = next((hit for hit in hits if hit.product_id != hits[0].product_id), None)
    return shown(hits[0].score), None if second is None else shown(second.score)


def boosted(found: Sequence[Candidate], factor: Callable[[Candidate], float], window: int) -> list[Candidate]:
    """Return candidates ordered by score times factor, so that every page agrees on the order.

    Args:
        found: the best first.
        factor: 0.5 to 2.
        window: number of nearest rows of each embedding that are reordered; the others follow.
            It must not depend on how many rows were fetched.
    """
    near = [c for c in found if c.place < window]
    far = [c for c in found if c.place >= window]
    moved = [c._replace(order=_times(c.score, factor(c))) for c in near]
    # Below whatever a boosted score can come to.
    moved += [c._replace(order=c.score - _BELOW) for c in far]
    return sorted(moved, key=_order)


def _times(score: float, factor: float) -> float:
    return round(score * factor if score >= 0 else score / factor, 5)


def pages(
    groups: Groups,
    size: int,
    repeat: bool,
    seen: Sequence[Collection[str]] = (),
    apart: Collection[int] = (),
) -> Iterator[list[list[Candidate]]]:
    """Yield page after page of all groups, until nothing is left.

    A product is once in all pages of all objects: they choose by score, so that it goes to the one it is
    most like of those that have room. The whole image answers another question and has its own nearest.
    With ``repeat`` each object has too. A page does not change when less near candidates are added to a
    group that filled it.

    Args:
        size: most products of a group on a page.
        seen: products of each group that earlier pages showed.
        apart: numbers of objects that take no product from the others, and from which none takes any.
    """
    taken = _taken(len(groups), repeat, seen, apart)
    while any(page := _page(groups, size, taken)):
        yield page


def _taken(
    count: int, repeat: bool, seen: Sequence[Collection[str]], apart: Collection[int]
) -> list[set[str]]:
    """Return a set of products for each group: its own, or one and the same for all objects not apart."""
    own = [set(seen[n]) if n < len(seen) else set() for n in range(count)]
    if repeat:
        return own
    alone = {*apart, count - 1}
    together = set().union(*(own[n] for n in range(count) if n not in alone))
    return [own[n] if n in alone else together for n in range(count)]


def _page(groups: Groups, size: int, taken: Sequence[set[str]]) -> list[list[Candidate]]:
    *objects, _ = range(len(groups))
    page: list[list[Candidate]] = [[] for _ in groups]
    offers = [(candidate, n) for n in objects for candidate in groups[n]]
    offers.sort(key=lambda offer: (_order(offer[0]), offer[1]))
    offers += [(candidate, len(groups) - 1) for candidate in groups[-1]]
    for candidate, n in offers:
        if len(page[n]) < size and candidate.product_id not in taken[n]:
            taken[n].add(candidate.product_id)
            page[n].append(candidate)
    return page


def _order(candidate: Candidate) -> tuple[float, str]:
    return -candidate.order, candidate.product_id
