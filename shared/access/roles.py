"""Roles of API keys, each of which includes the ones before it."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a key may do; ``web/http/roles.py`` has the minimum role of each endpoint.

    Attributes:
        SEARCH: publishable: search one catalogue from listed origins, and see its products.
        CATALOGUE: read and change the products of its catalogues, and follow its jobs.
        OPERATE: manage index versions, and read metrics and the status.
        OWNER: create and delete catalogues, and manage webhooks and keys.
    """

    SEARCH = "search"
    CATALOGUE = "catalogue"
    OPERATE = "operate"
    OWNER = "owner"

    def includes(self, other: Role) -> bool:
        """Return whether this role may do all that ``other`` may."""
        return _RANKS[self] >= _RANKS[other]


_RANKS = {role: rank for rank, role in enumerate(Role)}
