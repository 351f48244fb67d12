"""Which products an answer shows, and which of them are read: without an index and a database."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np

from shared.contracts import SearchOptions
from shared.searches.cursors import WHOLE, Cursor
from worker.search.boosting import NO_BOOSTS
from worker.search.candidates import choose_available
from worker.search.choosing import rank
from worker.search.stages import Candidate, Choice, EmbeddedQuery, MatchedQuery, Models, Page, Query
from worker.vector_index.contract import IndexHit

SEARCH = "5d8d1070-1c1c-4b6e-9a51-0123456789ab"
LIVE = 1


class Table:
    """Records what is loaded; a product is available unless it is in ``gone``."""

    def __init__(self, *gone: str) -> None:
        self.gone = set(gone)
        self.loads: list[set[str]] = []
        self.loaded: set[str] = set()

    def load(self, candidates: Iterable[Candidate]) -> None:
        new = {candidate.product_id for candidate in candidates} - self.loaded
        if new:
            self.loads.append(new)
            self.loaded |= new

    def is_available(self, candidate: Candidate, _: object) -> bool:
        assert candidate.product_id in self.loaded, "availability is unknown before the product is read"
        return candidate.product_id not in self.gone


def hits(count: int) -> list[IndexHit]:
    return [IndexHit(f"p{n:02}-0", f"p{n:02}", f"i{n:02}", 0, 0.9 - n / 1000) for n in range(count)]


def choose(table: Table, page: Page | None = None, rows: int = 40, **options: Any) -> Choice:
    """Choose for a search by a photo without objects."""
    wanted = SearchOptions.model_validate({"catalogue": "shop", "top_k": 3, **options})
    claim: Any = SimpleNamespace(id=SEARCH, options=wanted)
    live: Any = SimpleNamespace(id=LIVE)
    nothing: Any = None
    query = Query(claim, live, nothing, Models(1, "none", "tests"), None, NO_BOOSTS, None, rows, page)
    embedded = EmbeddedQuery(query, (), np.zeros((1, 4), np.float32), [[0]], frozenset())
    ranked = rank(MatchedQuery(query, embedded, rows, [hits(rows)]), [None])
    tables: Any = {LIVE: table}
    return choose_available([ranked], tables)[0]


def names(choice: Choice) -> list[str]:
    return [candidate.product_id for candidate in choice.chosen[-1]]


def test_only_what_is_shown_is_read_while_all_of_it_is_available() -> None:
    table = Table("p30")
    assert names(choose(table)) == ["p00", "p01", "p02"]
    assert table.loads == [{f"p{n:02}" for n in range(10)}], "the shown, and those that vote on the category"


def test_the_next_nearest_replace_what_is_gone_with_one_more_read() -> None:
    table = Table("p00", "p02", "p03", "p04", "p05", "p11")
    assert names(choose(table)) == ["p01", "p06", "p07"]
    assert len(table.loads) == 2, "not one read per replaced product"
    assert table.loaded == {f"p{n:02}" for n in range(40)}


def test_a_page_goes_on_after_what_is_gone() -> None:
    page = Page(Cursor(SEARCH, WHOLE, 3), 3, [{"p00", "p01", "p02"}])
    table = Table()
    assert names(choose(table, page)) == ["p06", "p07", "p08"]
    assert table.loads == [{"p06", "p07", "p08"}]
    table = Table("p06", "p08")
    choice = choose(table, page)
    assert names(choice) == ["p07", "p09", "p10"]
    assert choice.following[-1] == Cursor(SEARCH, WHOLE, 8)
    assert len(table.loads) == 2
