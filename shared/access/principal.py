"""The sender of a request: the owner of the server, an API key, or a visitor."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from shared.access.keys import KeyRecord
from shared.access.roles import Role


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated sender of a request, and its rights.

    Attributes:
        label: names it in logs and limits jobs, such as ``key:k3j8w2xa``; never a secret.
        owner: hash that its searches carry; None: the owner of the server, who may read all searches.
        catalogues: the only ones that it may access; None: all.
        key: its API key row, if it has one.
        is_visitor: a shopper on the public storefront, without a key.
    """

    role: Role
    label: str
    owner: str | None = None
    catalogues: frozenset[str] | None = None
    key: KeyRecord | None = None
    is_visitor: bool = False

    @property
    def is_publishable(self) -> bool:
        """Whether the request carries a key that pages of other sites may use."""
        return self.key is not None and self.role is Role.SEARCH

    @property
    def only_catalogue(self) -> str | None:
        """The catalogue of searches that name none; None if it may access several."""
        return next(iter(self.catalogues)) if self.catalogues and len(self.catalogues) == 1 else None

    def may_access(self, catalogue: str) -> bool:
        """Return whether it may access the catalogue."""
        return self.catalogues is None or catalogue in self.catalogues

    def owns(self, owner: str | None) -> bool:
        """Return whether it may read searches that carry ``owner``."""
        return self.role is Role.OWNER or (self.owner is not None and self.owner == owner)

    def visible(self, names: Iterable[str]) -> list[str]:
        """Return those of the catalogues that it may know of."""
        return [name for name in names if self.may_access(name)]


#: Sends requests with the bootstrap key, or on loopback while no key is set.
SERVER_OWNER = Principal(Role.OWNER, "api-key")
ANYONE_LOCAL = Principal(Role.OWNER, "anonymous")


def principal_of_key(key: KeyRecord) -> Principal:
    """Return the principal of a live API key."""
    owner = owner_hash(f"key:{key.prefix}")
    return Principal(key.role, f"key:{key.prefix}", owner, key.catalogues, key)


def visitor(token: str, catalogues: frozenset[str]) -> Principal:
    """Return the principal of a shopper whose cookie has this random text."""
    owner = owner_hash(f"visitor:{token}")
    return Principal(Role.SEARCH, f"visitor:{owner[:8]}", owner, catalogues, is_visitor=True)


def owner_hash(secret: str) -> str:
    """Return the hash that identifies the owner of a search, 128 bits in hexadecimal."""
    return hashlib.sha256(f"owner:{secret}".encode()).hexdigest()[:32]


def intersect(wanted: Collection[str] | None, allowed: frozenset[str] | None) -> Collection[str] | None:
    """Return the names that are in both; None stands for all names."""
    if wanted is None or allowed is None:
        return allowed if wanted is None else wanted
    return [name for name in wanted if name in allowed]
