"""Accept, read and cancel searches; workers use ``SearchQueue``."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, bindparam, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.contracts import ErrorBody, SearchOptions, SearchResult, TaskStatus
from shared.contracts.states import OPEN_STATES, SearchState
from shared.contracts.stored import NEEDS, as_object, needed_by, read_stored
from shared.database import Database, WrittenJson
from shared.database.catalogue_rows import unknown_catalogue
from shared.database.clock import now_s, to_datetime
from shared.database.idempotency import (
    AcceptedRequest,
    Idempotent,
    find_earlier_request,
    store_idempotency_key,
)
from shared.database.tables import Catalogue, DeletedSearch, Product, Search
from shared.errors import Deleted, Expired, UnknownProduct, UnknownTask
from shared.money.rates import Rates, convert_prices
from shared.searches.statements import WAITING_COUNT

_SCOPE = "search"
#: A row of the table, or a part of one.
_SearchRow = TypeVar("_SearchRow", Search, Row[Any])

# Built at import: constructing a statement costs more than executing it, and every search uses these.
_CATALOGUE_ID = select(Catalogue.id).where(Catalogue.name == bindparam("name"))
_INSERT = insert(Search)
_STATE = select(Search.state).where(Search.id == bindparam("id"))
_IS_DELETED = select(DeletedSearch.id).where(DeletedSearch.id == bindparam("id"))
_EMBEDDINGS = select(Search.expires_at, Search.objects, Search.embeddings, Search.models).where(
    Search.id == bindparam("id")
)
_STATUS = select(
    Search.id,
    Search.state,
    Search.options,
    Search.created_at,
    Search.started_at,
    Search.finished_at,
    Search.expires_at,
    Search.result,
    Search.error_code,
    Search.error_message,
).where(Search.id == bindparam("id"))


@dataclass(frozen=True, slots=True)
class SearchSource:
    """Input of a search.

    Attributes:
        query_key: key of its photo.
        more_photos: keys of further photos of the same object.
        photo_owner: hash of who uploaded them, for a repeated search; None: the owner of the search.
        photo_shared: whether others who have the address of a repeated search see the photo.
        product_id: product to search with instead of a photo.
        earlier: id of a search whose stored objects and embeddings are reused, if it has any.
    """

    query_key: str | None = None
    more_photos: tuple[str, ...] = ()
    product_id: str | None = None
    earlier: str | None = None
    photo_owner: str | None = None
    photo_shared: bool = False


@dataclass(frozen=True, slots=True)
class EarlierSearch:
    """A search that is repeated, or whose next page is requested.

    Attributes:
        embedded: whether its objects and embeddings are stored.
    """

    source: SearchSource
    options: SearchOptions
    state: str
    embedded: bool


class SearchRepository:
    """Accepts, reads and cancels searches."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def accept(
        self,
        catalogue: str,
        options: SearchOptions,
        source: SearchSource,
        *,
        search_id: str | None = None,
        owner: str | None = None,
        ttl_s: int,
        idempotency: Idempotent | None = None,
    ) -> AcceptedRequest:
        """Commit a search; it cannot be lost afterwards.

        Args:
            search_id: a new UUID, if the caller needs it in advance.
            owner: hash of the key or visitor that makes it; None: the owner of the server.
            ttl_s: seconds until the search expires.

        Raises:
            UnknownCatalogue, UnknownProduct.
            Conflict: the idempotency key belongs to another request.
        """
        new_id = search_id or str(uuid.uuid4())
        try:
            return self._accept(catalogue, options, source, new_id, owner, ttl_s, idempotency)
        except IntegrityError:
            # A concurrent request with the same new key has committed.
            return self._accept(catalogue, options, source, new_id, owner, ttl_s, idempotency)

    def _accept(
        self,
        catalogue: str,
        options: SearchOptions,
        source: SearchSource,
        new_id: str,
        owner: str | None,
        ttl_s: int,
        idempotency: Idempotent | None,
    ) -> AcceptedRequest:
        options_json = _to_json(options)
        # Read before the transaction, whose lock a shopper may have to wait for.
        now = now_s()
        with self._database.write_connection() as connection:
            if idempotency is not None:
                earlier = find_earlier_request(connection, _SCOPE, idempotency)
                if earlier is not None:
                    return AcceptedRequest(earlier, False)
            id_ = connection.scalar(_CATALOGUE_ID, {"name": catalogue})
            if id_ is None:
                raise unknown_catalogue(catalogue)
            searched = [] if source.product_id is None else [source.product_id]
            for field, ids in (("product_id", searched), ("like", options.like), ("unlike", options.unlike)):
                if ids:
                    _require_products(connection, id_, ids, field)
            search: dict[str, Any] = {
                "id": new_id,
                "state": SearchState.QUEUED,
                "catalogue_id": id_,
                "options": options_json,
                "query_key": source.query_key,
                "more_photos": list(source.more_photos) or None,
                "product_id": source.product_id,
                "owner": owner,
                "photo_owner": source.photo_owner if source.earlier is not None else owner,
                "photo_shared": source.photo_shared,
                "created_at": now,
                "published_at": now,
                "expires_at": now + ttl_s,
            }
            if source.earlier is not None:
                # Copied, so that the earlier search may expire before this one.
                row = connection.execute(_EMBEDDINGS, {"id": source.earlier}).one_or_none()
                row = _require_unexpired(connection, row, source.earlier)
                search |= {"objects": row.objects, "embeddings": row.embeddings, "models": row.models}
            connection.execute(_INSERT, search)
            if idempotency is not None:
                store_idempotency_key(connection, _SCOPE, idempotency, new_id)
            return AcceptedRequest(new_id, True, now)

    def load_earlier(self, search_id: str) -> EarlierSearch:
        """Return the input and options of a search.

        Raises:
            UnknownTask, Expired: as ``status``.
        """
        with self._database.read() as session:
            row = find_search(session, search_id)
            return EarlierSearch(
                source=SearchSource(
                    row.query_key,
                    tuple(row.more_photos or ()),
                    row.product_id,
                    row.id,
                    row.photo_owner,
                    row.photo_shared,
                ),
                options=read_stored(SearchOptions, row.options, "The options of this search"),
                state=row.state,
                embedded=row.embeddings is not None,
            )

    def status(self, search_id: str) -> TaskStatus:
        """Return the state, with the result or the error once there is one.

        Raises:
            UnknownTask: never issued, or deleted.
            Expired: issued, but past its expiry.
        """
        with self._database.read() as session:
            return _status(find_search(session, search_id))

    def status_json(
        self, search_id: str, read_rates: Callable[[], Rates | None] = lambda: None
    ) -> dict[str, Any]:
        """Return the status as JSON, with the result as the worker wrote it, without parsing it.

        Args:
            read_rates: called to convert prices if the search has a currency.

        Raises:
            UnknownTask, Expired: as ``status``.
        """
        with self._database.read_connection() as connection:
            row = connection.execute(_STATUS, {"id": search_id}).one_or_none()
            row = _require_unexpired(connection, row, search_id)
            status, result = _status(row, with_result=False).model_dump(mode="json"), row.result
            if result and (currency := as_object(row.options).get("currency")):
                rates = read_rates()
                result = result if rates is None else convert_prices(result, currency, rates)
            return status | {"result": result}

    def is_open(self, search_id: str) -> bool:
        """Return whether the search waits or runs."""
        with self._database.read_connection() as connection:
            state = connection.scalar(_STATE, {"id": search_id})
        return state in OPEN_STATES

    def cancel(self, search_id: str) -> TaskStatus:
        """Cancel the search unless it has ended; return its status afterwards."""
        with self._database.write() as session:
            row = find_search(session, search_id)
            if row.state in OPEN_STATES:
                row.state = SearchState.CANCELLED
                row.finished_at = now_s()
                row.fence += 1  # a worker that holds the search can no longer write its result
            return _status(row)

    def query_key(self, search_id: str) -> str | None:
        """Return the key of the search's photo, None for a search by product."""
        with self._database.read() as session:
            return find_search(session, search_id).query_key

    def count_waiting(self) -> int:
        """Count the searches that wait for a worker."""
        with self._database.read_connection() as connection:
            return connection.scalar(WAITING_COUNT) or 0


def _require_products(connection: Connection, catalogue_id: int, ids: Sequence[str], field: str) -> None:
    query = select(Product.product_id).where(
        Product.catalogue_id == catalogue_id, Product.product_id.in_(list(ids))
    )
    missing = sorted(set(ids).difference(connection.scalars(query)))
    if missing:
        raise UnknownProduct(f"There is no product {missing[0]!r} in this catalogue.", field)


def find_search(session: Session, search_id: str) -> Search:
    """Return the row of a search, or raise UnknownTask or Expired."""
    return _require_unexpired(session, session.get(Search, search_id), search_id)


def _require_unexpired(reader: Session | Connection, row: _SearchRow | None, search_id: str) -> _SearchRow:
    if row is None:
        if reader.scalar(_IS_DELETED, {"id": search_id}) is not None:
            raise Deleted("This search was deleted with its photo. Search again with a photo.")
        raise UnknownTask(f"There is no task {search_id!r}: it was never issued, or it expired long ago.")
    if row.expires_at < now_s():
        raise Expired("This search has expired: search again with the photo.")
    return row


def _to_json(options: SearchOptions) -> WrittenJson:
    """Return the options to store: those that differ from their defaults, and the version that they need."""
    text = options.model_dump_json(exclude_defaults=True)
    if not SearchOptions.NEEDED_BY:
        return WrittenJson(text)
    chosen = options.model_dump(mode="json", exclude_defaults=True)
    version = needed_by(SearchOptions, chosen)
    return WrittenJson(text if version <= 1 else json.dumps({**chosen, NEEDS: version}))


def _status(row: Search | Row[Any], with_result: bool = True) -> TaskStatus:
    failed = row.error_code is not None
    return TaskStatus.model_validate(
        {
            "id": row.id,
            "state": row.state,
            "created_at": to_datetime(row.created_at),
            "started_at": to_datetime(row.started_at),
            "finished_at": to_datetime(row.finished_at),
            "result": read_stored(SearchResult, row.result, "The answer to this search")
            if row.result and with_result
            else None,
            "error": ErrorBody(code=row.error_code or "", message=row.error_message or "")
            if failed
            else None,
        }
    )
