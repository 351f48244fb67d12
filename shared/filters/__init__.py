"""Filters: what products a search may return. docs/filters.md describes the language.

``parse`` makes a filter of a text. ``matches`` asks it of a product in memory, ``shared.filters.sql.where``
of the catalogue database, ``worker.vector_index`` of Milvus; the four agree, and a test says so.
"""

from shared.filters.facts import Described, Facts, facts_of
from shared.filters.parsing import MAX_CHARS, parse
from shared.filters.passing import matches, passes
from shared.filters.tree import Filter, both, category_is, product_is_one_of
from shared.filters.writing import written_as

__all__ = [
    "MAX_CHARS",
    "Described",
    "Facts",
    "Filter",
    "both",
    "category_is",
    "facts_of",
    "matches",
    "parse",
    "passes",
    "product_is_one_of",
    "written_as",
]
