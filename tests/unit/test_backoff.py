"""Delays between retries, and pauses after failures."""

from __future__ import annotations

import pytest

from shared.process.backoff import Backoff, CoolDown


class Clock:
    """Monotonic seconds that a test sets."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_delays_grow_by_the_factor_up_to_the_maximum() -> None:
    backoff = Backoff(10.0, 4.0, 4 * 3600.0)
    assert [backoff.delay_s(n) for n in (1, 2, 3)] == [10.0, 40.0, 160.0]
    assert backoff.delay_s(10) == backoff.delay_s(10**6) == 4 * 3600.0
    assert backoff.delay_s(0) == 10.0


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_jitter_only_shortens_a_delay(jitter: float) -> None:
    delays = {Backoff(2.0, 2.0, 30.0, jitter).delay_s(3) for _ in range(200)}
    assert 8.0 * (1 - jitter) <= min(delays) <= max(delays) <= 8.0
    assert (len(delays) > 1) == (jitter > 0)


def test_a_cool_down_lasts_from_the_failure_on() -> None:
    clock = Clock()
    cool_down = CoolDown(2.0, clock=clock)
    assert not cool_down.is_active()
    cool_down.record_failure()
    assert cool_down.is_active()
    clock.now_s = 1.9
    cool_down.record_failure()  # of a call that began earlier: it does not prolong the pause
    clock.now_s = 2.0
    assert not cool_down.is_active()


def test_only_consecutive_failures_count() -> None:
    clock = Clock()
    cool_down = CoolDown(30.0, max_failures=3, clock=clock)
    for _ in range(5):
        cool_down.record_failure()
        cool_down.record_failure()
        cool_down.record_success()
    assert not cool_down.is_active()
    for _ in range(3):
        cool_down.record_failure()
    assert cool_down.is_active()
    clock.now_s = 31.0
    cool_down.record_failure()
    assert not cool_down.is_active(), "the count starts again after the pause"
