"""Filters: what products a search may return. docs/filters.md describes the language.

``parse`` parses a text into a filter. ``matches`` evaluates it on a product in memory,
``shared.database.filter_sql.where`` in the database, and ``worker.vector_index`` in Milvus. All agree: a test
compares them.
"""

from shared.filters.facts import Described, FilterFields, filter_fields
from shared.filters.parsing import MAX_CHARS, parse
from shared.filters.passing import matches, passes
from shared.filters.tree import Filter, both, category_is, product_is_one_of
from shared.filters.writing import written_as

__all__ = [
    "MAX_CHARS",
    "Described",
    "Filter",
    "FilterFields",
    "both",
    "category_is",
    "filter_fields",
    "matches",
    "parse",
    "passes",
    "product_is_one_of",
    "written_as",
]
