"""Consume messages patiently: wait for a broker that accepts writes, and record activity.

A full Redis refuses the transaction by which kombu receives a message. Celery treats that as unrecoverable
and ends the worker; its supervisor would restart it in a loop.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from celery import signals
from celery.worker import state
from celery.worker.consumer import Consumer
from celery.worker.state import maybe_shutdown

from shared.broker.health import BrokerHealth, BrokerReport
from shared.settings import get_settings

log = logging.getLogger(__name__)

TICK_INTERVAL_S = 1.0
#: Interval of checks for a stop signal while the broker is unusable.
_STOP_CHECK_INTERVAL_S = 0.5
_BACK_OFF_S = (0.0, 1.0, 2.0, 3.0, 5.0)
#: A connection that lasted longer counts as good: the next attempt has no delay.
_MIN_GOOD_CONNECTION_S = 30.0


class ConsumerActivity:
    """Last activities of this process's consumer, in monotonic seconds; written by its event loop."""

    def __init__(self) -> None:
        self.ticked_at = self.received_at = time.monotonic()
        self.broker_usable = True
        self.started = False

    def tick(self) -> None:
        """Record an iteration of the event loop."""
        self.ticked_at = time.monotonic()

    def receive(self, **_: Any) -> None:
        """Record that a message was received; a signal handler."""
        self.received_at = time.monotonic()

    @property
    def is_busy(self) -> bool:
        """Return whether the child runs a task, which Celery's time limits end if it hangs."""
        return len(state.active_requests) > 0


ACTIVITY = ConsumerActivity()
signals.task_received.connect(ACTIVITY.receive)


class PatientConsumer(Consumer):
    """A Celery consumer that connects once the broker accepts writes, and retries with back-off."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._health = BrokerHealth(get_settings().redis_url)
        self._failures = 0
        self._connected_at = float("-inf")

    def connect(self) -> Any:
        """Wait until the broker accepts writes, then connect."""
        ACTIVITY.started = True
        lasted_s = time.monotonic() - self._connected_at
        self._failures = 0 if lasted_s > _MIN_GOOD_CONNECTION_S else self._failures + 1
        self._sleep(_BACK_OFF_S[min(self._failures, len(_BACK_OFF_S) - 1)])
        self._wait_until_writable()
        self._connected_at = time.monotonic()
        return super().connect()

    def register_with_event_loop(self, hub: Any) -> None:
        """Tick from the loop itself: a thread would continue while the loop hangs."""
        super().register_with_event_loop(hub)
        hub.timer.call_repeatedly(TICK_INTERVAL_S, ACTIVITY.tick)

    def _wait_until_writable(self) -> None:
        reported: BrokerReport | None = None
        try:
            while not (report := self._health.report()).accepts_writes:
                ACTIVITY.broker_usable = False
                if reported is None or report.state is not reported.state:
                    log.warning("waiting for the broker: %s", report.message)
                    reported = report
                self._sleep(TICK_INTERVAL_S)
            if reported is not None:
                log.info("the broker accepts writes again")
        finally:
            ACTIVITY.broker_usable = True

    def _sleep(self, seconds: float) -> None:
        """Sleep in steps, so that a stop signal takes effect and the health file stays fresh."""
        until = time.monotonic() + seconds
        while True:
            ACTIVITY.tick()
            maybe_shutdown()
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(_STOP_CHECK_INTERVAL_S, left))
