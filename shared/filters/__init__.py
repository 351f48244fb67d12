"""Filters: what products a search may return."""

from shared.filters.facts import Described, Facts, facts_of

__all__ = ["Described", "Facts", "facts_of"]
