"""The names of collections in Milvus, and the aliases that point at them."""

from __future__ import annotations

import time
from contextlib import suppress

from shared.errors import Conflict, NotFound
from worker.vector_index.connection import Connection

# Longer than a call that the server answers itself: what was asked before an alias moved is over by then.
_SETTLES_S = 0.25


class Aliases(Connection):
    """A connection that knows what collections there are; ``MilvusIndex`` adds what is in them."""

    def collections(self, timeout_s: float | None = None) -> list[str]:
        """Return the names of all collections, sorted; ``timeout_s`` replaces the usual limit of a call."""
        return sorted(self._call("list_collections", timeout=timeout_s))

    def set_alias(self, alias: str, collection: str) -> None:
        """Point the alias at the collection, atomically for searches; creates it when missing.

        Raises:
            NotFound: there is no such collection.
            Conflict: a collection has the name of the alias.
        """
        names = self.collections()
        if collection not in names:
            raise NotFound(f"There is no collection {collection}.")
        if alias in names:
            raise Conflict(f"{alias} is a collection and cannot be an alias.")
        if self.resolve_alias(alias) is None:
            with suppress(Conflict):
                self._call("create_alias", collection, alias)
                return
        # Or the first searches behind the alias would fail.
        self.ensure_loaded(collection)
        self._call("alter_alias", collection, alias)
        # Searches that were asked while it moved may have the server remember the old collection for good
        # (seen on 2.3.5, docs/milvus.md); it forgets that when the alias is moved, also to where it is.
        time.sleep(_SETTLES_S)
        self._call("alter_alias", collection, alias)

    def remove_alias(self, alias: str) -> None:
        """Take an alias away; no effect when it is missing."""
        with suppress(NotFound):
            self._call("drop_alias", alias)

    def resolve_alias(self, alias: str) -> str | None:
        """Return the collection behind the alias, or None when there is no such alias."""
        try:
            return str(self._call("describe_alias", alias)["collection_name"])
        except NotFound:
            return None
