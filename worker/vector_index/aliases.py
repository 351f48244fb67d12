"""Collection names in Milvus, and the one alias a catalogue that outside tools may use."""

from __future__ import annotations

import logging
from contextlib import suppress

from shared.errors import NotFound, VitrineError
from worker.vector_index.connection import Connection

log = logging.getLogger(__name__)


class Aliases(Connection):
    """A connection that lists collections and keeps aliases; ``MilvusIndex`` reads and writes rows."""

    def collections(self, timeout_s: float | None = None) -> list[str]:
        """Return the names of all collections, sorted; ``timeout_s`` replaces the default of a call."""
        return sorted(self._call("list_collections", timeout=timeout_s))

    def set_alias(self, alias: str, collection: str) -> None:
        """Point the alias at the collection, best effort: a failure is logged, not raised.

        Vitrine's own searches use the collection that the database names, so that no job may fail because
        an alias cannot be set. Under concurrent searches by the alias Milvus 2.3.5 may go on with the old
        collection (docs/milvus.md).
        """
        try:
            moves = self.resolve_alias(alias) is not None
            self._call("alter_alias" if moves else "create_alias", collection, alias)
        except VitrineError as error:
            log.warning("alias %s was not set to %s: %s", alias, collection, error.message)

    def remove_alias(self, alias: str) -> None:
        """Drop an alias; no effect when it is missing."""
        with suppress(NotFound):
            self._call("drop_alias", alias)

    def resolve_alias(self, alias: str) -> str | None:
        """Return the collection behind the alias, or None when there is no such alias."""
        try:
            return str(self._call("describe_alias", alias)["collection_name"])
        except NotFound:
            return None
