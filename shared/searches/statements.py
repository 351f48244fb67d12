"""Statements that claim and answer searches.

Built at import: constructing a statement costs more than executing it. Arguments are the names of their
``bindparam``.
"""

from __future__ import annotations

from sqlalchemy import bindparam, func, select, update

from shared.contracts.states import SearchState
from shared.database.needs import is_understood
from shared.database.tables import Catalogue, Search

_WAITS = (
    Search.state == SearchState.QUEUED,
    Search.lease_until <= bindparam("now"),
    # A row of a newer version waits for a newer worker.
    is_understood(Search.options),
)
#: Selects the search ``own`` if it waits at ``now``.
IS_WAITING = select(Search.id).where(Search.id == bindparam("own"), *_WAITS)
_CLAIMED = (
    select(
        Search.id,
        Search.fence,
        Search.attempts,
        Search.catalogue_id,
        Search.options,
        Search.query_key,
        Search.more_photos,
        Search.product_id,
        Search.objects,
        Search.embeddings,
        Search.models,
        Search.created_at,
        Search.started_at,
        Catalogue.name.label("catalogue"),
        Catalogue.currency,
    )
    .join(Catalogue, Catalogue.id == Search.catalogue_id)
    .where(*_WAITS)
    # Of several workers only one gets a row; the others skip it.
    .with_for_update(skip_locked=True, of=Search)
)
#: Selects up to ``most`` searches that wait at ``now``, oldest first.
WAITING = _CLAIMED.order_by(Search.created_at).limit(bindparam("most"))
#: Counts waiting searches.
WAITING_COUNT = select(func.count()).where(Search.state == SearchState.QUEUED)
#: Selects and locks the search ``own`` if it waits at ``now``.
OWN = _CLAIMED.where(Search.id == bindparam("own"))
#: Selects up to ``most`` other searches that wait at ``now`` and were never tried, oldest first.
OTHERS = WAITING.where(Search.id != bindparam("own"), Search.attempts == 0)
#: Leases the search ``taken`` to ``holder`` until ``until``.
TAKE = (
    update(Search)
    .where(Search.id == bindparam("taken"))
    .values(
        state=SearchState.RUNNING,
        attempts=Search.attempts + 1,
        fence=Search.fence + 1,
        holder=bindparam("holder"),
        lease_until=bindparam("until"),
        started_at=bindparam("started"),
    )
)
#: Writes the result of a search whose claim is valid; otherwise it matches no row.
ANSWER = (
    update(Search)
    .where(
        Search.id == bindparam("of"), Search.fence == bindparam("held"), Search.state == SearchState.RUNNING
    )
    .values(
        state=SearchState.SUCCEEDED, holder=None, finished_at=bindparam("now"), result=bindparam("answer")
    )
)
#: ``ANSWER`` with the objects and embeddings for repeated searches.
ANSWER_AND_KEEP = ANSWER.values(
    objects=bindparam("seen"), embeddings=bindparam("rows"), models=bindparam("made_by")
)
