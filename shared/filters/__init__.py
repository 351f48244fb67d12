"""Filters of products. docs/filters.md describes the language.

``parse`` parses a text into a filter. ``matches`` evaluates it on a product in memory,
``shared.database.filter_sql.where`` in the database, and ``worker.vector_index`` in Milvus. A test compares
their results.
"""

from shared.filters.facts import FilterFields, ProductData, filter_fields
from shared.filters.parsing import parse
from shared.filters.passing import matches, passes
from shared.filters.tree import Filter, both, category_is, product_is_one_of
from shared.filters.writing import format_filter

__all__ = [
    "Filter",
    "FilterFields",
    "ProductData",
    "both",
    "category_is",
    "filter_fields",
    "format_filter",
    "matches",
    "parse",
    "passes",
    "product_is_one_of",
]
