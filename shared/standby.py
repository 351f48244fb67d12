"""Search workers that have nothing to do stand by for a while, and are called over Redis, one for a search.

It only saves a search the way through the queue, which costs it a tenth of its time: a call that is lost, or
that nobody is there to hear, costs what it cost without. Celery's task goes on while its worker stands by.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import redis

from shared.redis_clients import client_options
from shared.task_names import Lane

log = logging.getLogger(__name__)

_PLACES = "vitrine:standby"
#: Who stands by looks at the ledger too, since a call may be lost with the broker.
_LOOK_S = 0.25
#: A call that was taken from the list has been said already.
_ON_ITS_WAY_S = 0.1
_CONFIRMED_S = 2.0
_FORGET_S = 300
#: Shoppers seldom ask once: so long after a search a worker stands by for the next.
_LIKELY_S = 60.0
# Who came last goes first: its memory is the warmest. One that has died hears nothing, and is left out.
_CALL = """
while true do
  local channel = redis.call('LPOP', KEYS[1])
  if not channel then return 0 end
  if redis.call('PUBLISH', channel, ARGV[1]) > 0 then return 1 end
end
"""


class Call(NamedTuple):
    """What a worker is told.

    Attributes:
        search_id: of a search that is committed, or will be within ``LOOK_OUT_S``.
        photo: key of the photo that is to be decoded for it; empty where none is.
    """

    search_id: str
    photo: str = ""

    def written(self) -> str:
        return f"{self.search_id} {self.photo}"

    @staticmethod
    def read(data: bytes) -> Call:
        search_id, _, photo = data.decode("utf-8", "replace").partition(" ")
        return Call(search_id, photo)


class Caller:
    """The side of those who have a search to be answered."""

    def __init__(self, redis_url: str) -> None:
        self._call = redis.Redis.from_url(redis_url, **client_options()).register_script(_CALL)

    def call(self, call: Call) -> bool:
        """Call one worker that stands by; False where none does. Raises the errors of redis-py."""
        return bool(self._call([_PLACES], [call.written()]))


class Standby:
    """The worker's side; for one thread."""

    def __init__(self, redis_url: str) -> None:
        self._client: Any = redis.Redis.from_url(redis_url, **client_options())
        self._channel = f"{_PLACES}:{uuid.uuid4()}"
        self._line: Any = None
        self._waits = False
        self._needed_until = 0.0

    def was_needed(self) -> None:
        """Remember that a search came."""
        self._needed_until = time.monotonic() + _LIKELY_S

    def is_needed(self) -> bool:
        """Whether a search came so lately that another one is likely."""
        return time.monotonic() < self._needed_until

    def calls(self, until: float, ended: Callable[[], bool]) -> Generator[Call | None, None, None]:
        """Stand by; yield each call, and None whenever the ledger is to be looked at.

        Ends early where rings wait in the queue: each is a task, and they would pile up behind this one.
        The last one is None: what was called for meanwhile is in the ledger. Close it when it is left early.

        Args:
            until: monotonic seconds.
            ended: asked four times a second; True ends it.
        """
        try:
            while time.monotonic() < until and not ended() and self._take_place():
                # What was committed before has called nobody here.
                yield None
                if self._waits and (call := self._next(_LOOK_S)) is not None:
                    yield call
            if (call := self._leave()) is not None:
                yield call
        except (redis.RedisError, OSError) as error:
            log.info("standing by ended: %s", type(error).__name__)
            self._hang_up()
        finally:
            if self._waits:
                self._hang_up()
        yield None

    def close(self) -> None:
        self._hang_up()
        self._client.close()

    def _take_place(self) -> bool:
        """Be called from now on; False where rings wait in the queue, whose turn it is then."""
        if self._line is None:
            self._line = self._client.pubsub()
            self._line.subscribe(self._channel)
            self._line.get_message(timeout=_CONFIRMED_S)  # the confirmation: from now on calls are heard
        if not self._waits:
            with self._client.pipeline() as together:
                together.lpush(_PLACES, self._channel)
                # Of those who died nothing stays.
                together.expire(_PLACES, _FORGET_S)
                together.llen(str(Lane.SEARCH))
                *_, rings = together.execute()
            self._waits = True
            return not rings
        return True

    def _next(self, seconds: float) -> Call | None:
        message = self._line.get_message(ignore_subscribe_messages=True, timeout=seconds)
        if message is None:
            return None
        self._waits = False
        return Call.read(message["data"])

    def leave_place(self) -> None:
        """Be called no longer until ``calls`` goes on; a quicker call is heard then. Never raises."""
        try:
            if self._waits:
                self._client.lrem(_PLACES, 0, self._channel)
                self._waits = False
        except (redis.RedisError, OSError):
            self._hang_up()

    def _leave(self) -> Call | None:
        """Give the place up; return the call of who was quicker."""
        if not self._waits or self._client.lrem(_PLACES, 0, self._channel):
            self._waits = False
            return None
        return self._next(_ON_ITS_WAY_S)

    def _hang_up(self) -> None:
        """Hear nothing any more: whoever finds the place taken then finds nobody there."""
        self._waits = False
        line, self._line = self._line, None
        if line is not None:
            line.close()
