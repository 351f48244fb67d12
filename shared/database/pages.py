"""All rows of a query in pages by a unique key: no transaction lasts long, and memory stays flat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from shared.database import Database


def pages(
    database: Database, query: Select[*tuple[Any, ...]], key: Sequence[InstrumentedAttribute[Any]], size: int
) -> Iterator[Sequence[Any]]:
    """Yield the rows of a query in the order of a key, each page read in a transaction of its own.

    Rows that are written concurrently are in it if their key is larger than the last one read.

    Args:
        query: without order; the columns of ``key`` come first in it.
        key: a unique key of the rows.
        size: rows of a page at most.
    """
    ordered = query.order_by(*key).limit(size)
    paged = ordered
    while True:
        with database.read() as session:
            page = session.execute(paged).all()
        if page:
            yield page
        if len(page) < size:
            return
        last = tuple(page[-1][: len(key)])
        paged = ordered.where(key[0] > last[0] if len(key) == 1 else tuple_(*key) > last)
