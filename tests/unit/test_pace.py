"""The rate of a job, and how sure it is."""

from __future__ import annotations

import pytest

from shared.jobs.pace import add_sample, recent_speed


def samples(steps: list[float], every_s: float = 5.0) -> list[list[float]]:
    found: list[list[float]] = []
    done = 0.0
    for k, step in enumerate([0.0, *steps]):
        done += step
        found = add_sample(found, 1000.0 + k * every_s, int(done))
    return found


def test_nothing_is_told_of_fewer_than_two_samples() -> None:
    assert recent_speed(None, 0.0) is None
    assert recent_speed(samples([]), 1001.0) is None
    assert recent_speed(samples([0.0, 0.0]), 1011.0) is None, "nothing was done: there is no rate"


def test_a_steady_job_has_a_narrow_range_and_an_unsteady_one_a_wide_one() -> None:
    steady = recent_speed(samples([50.0] * 12), 1060.0)
    unsteady = recent_speed(samples([10.0, 90.0] * 6), 1060.0)
    assert steady is not None
    assert unsteady is not None
    assert steady.rate == unsteady.rate == pytest.approx(10.0)
    assert (steady.slow, steady.fast) == (pytest.approx(9.0), pytest.approx(11.0))
    assert unsteady.slow == pytest.approx(2.5), "never below a quarter: the time left stays finite"
    assert unsteady.fast == pytest.approx(18.0)


def test_only_the_last_minute_counts() -> None:
    speed = recent_speed(samples([500.0] * 20 + [5.0] * 12), 1160.0)
    assert speed is not None
    assert speed.rate == pytest.approx(1.0)


def test_a_job_that_stands_still_becomes_slower() -> None:
    points = samples([50.0] * 12)
    just_now, later = recent_speed(points, 1060.0), recent_speed(points, 1180.0)
    assert just_now is not None
    assert later is not None
    assert later.rate == pytest.approx(600 / 180)
    assert later.slow < later.rate < just_now.rate
