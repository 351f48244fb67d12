"""Sample queries of the gate with the answers of both versions, stored for people to compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from worker.jobs.gate_queries import Query

#: Maximum number of stored queries, and hits of each.
KEPT = 12
_HITS = 6

Hits = list[tuple[str, float]]


def samples(
    queries: Sequence[Query], before: Sequence[Hits] | None, after: Sequence[Hits]
) -> list[dict[str, Any]]:
    """Return sample queries with both answers, those first whose answers differ most.

    Of golden queries, one whose right product came first in one version only goes before all others.

    Args:
        before: of the live version, a list a query; None where it was not asked.
        after: of the new version.
    """
    olds = before if before is not None else [[] for _ in queries]
    rows = list(zip(queries, olds, after, strict=True))
    rows.sort(key=lambda row: (not _turned(*row), _same(row[1], row[2]), row[0].source != "golden"))
    return [
        {
            "source": query.source,
            "key": query.key,
            "product_id": query.product_id,
            "box": None if query.box is None else list(query.box),
            "before": [[product, round(score, 4)] for product, score in old[:_HITS]],
            "after": [[product, round(score, 4)] for product, score in new[:_HITS]],
        }
        for query, old, new in rows[:KEPT]
    ]


def _turned(query: Query, old: Hits, new: Hits) -> bool:
    """Return whether exactly one version has the right product first."""
    if query.source != "golden":
        return False
    return _is_first(query, old) != _is_first(query, new)


def _is_first(query: Query, hits: Hits) -> bool:
    return bool(hits) and hits[0][0] == query.product_id


def _same(old: Hits, new: Hits) -> float:
    """Return the share of the old answer's products that the new one has too."""
    return len({p for p, _ in old} & {p for p, _ in new}) / len(old) if old else 0.0
