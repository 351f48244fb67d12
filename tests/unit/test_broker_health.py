"""Whether the broker takes writes, asked of a real Redis that is full, read-only, frozen, or away."""

from __future__ import annotations

import signal

import pytest

from shared.broker import health
from shared.broker.health import BrokerHealth, BrokerState
from shared.errors import BrokerUnavailable
from tests.servers import RedisServer, free_port, wait_for

pytestmark = pytest.mark.services


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probe at every call."""
    monkeypatch.setattr(health, "REFRESH_S", 0.0)
    monkeypatch.setattr(health, "REFRESH_AWAY_S", 0.0)


def test_a_broker_with_room_is_writable(redis_server: RedisServer) -> None:
    broker = BrokerHealth(redis_server.url)
    report = broker.report()
    assert (report.state, report.message, report.accepts_writes) == (BrokerState.WRITABLE, "ok", True)
    assert 0 < report.used_bytes < report.max_bytes == 128 * 2**20
    broker.check()
    broker.require_writable()


def test_a_full_broker_refuses_work_and_says_how_full_it_is(redis_server: RedisServer) -> None:
    redis_server.client().config_set("maxmemory", 2**20)
    redis_server.client().config_set("maxmemory", 1)
    broker = BrokerHealth(redis_server.url)
    report = broker.report()
    assert report.state is BrokerState.REFUSING
    assert not report.accepts_writes
    assert report.message.startswith("not writable, 1 of 0 MB used")
    for ask in (broker.check, broker.require_writable):
        with pytest.raises(BrokerUnavailable, match="not writable"):
            ask()
    redis_server.client().config_set("maxmemory", 0)
    broker.require_writable()


def test_nearly_full_counts_as_full_for_new_work_only(redis_server: RedisServer) -> None:
    client = redis_server.client()
    # So much that the buffers of a connection, which come and go, are a small part of what is used.
    client.setrange("filling", 32 * 2**20, "x")
    used = int(client.info("memory")["used_memory"])
    client.config_set("maxmemory", int(used * 1.015))
    report = BrokerHealth(redis_server.url).report()
    assert (report.state, report.accepts_writes) == (BrokerState.REFUSING, True)


def test_a_replica_and_a_disk_without_room_are_told_apart(redis_server: RedisServer) -> None:
    redis_server.client().execute_command("REPLICAOF", "127.0.0.1", "1")
    report = BrokerHealth(redis_server.url).report()
    assert (report.state, report.message) == (
        BrokerState.REFUSING,
        "not writable: it is a read-only replica",
    )
    full_disk = "MISCONF Errors writing to the AOF file: No space left on device"
    assert health._refusal(full_disk, 1, 2) == f"not writable: {full_disk}"


def test_one_that_is_frozen_or_away_takes_no_work_from_nobody(redis_server: RedisServer) -> None:
    """It is restarting most times: what is accepted meanwhile is published again."""
    broker = BrokerHealth(redis_server.url)
    assert broker.report().state is BrokerState.WRITABLE
    redis_server.send(signal.SIGSTOP)
    try:
        assert broker.report().state is BrokerState.AWAY
        broker.require_writable()
        with pytest.raises(BrokerUnavailable, match="did not answer"):
            broker.check()
    finally:
        redis_server.send(signal.SIGCONT)
    wait_for("it is back", lambda: broker.report().state is BrokerState.WRITABLE)
    assert BrokerHealth(f"redis://127.0.0.1:{free_port()}/0").report().state is BrokerState.AWAY


def test_a_failed_publish_makes_the_next_question_ask_the_broker(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "REFRESH_S", 3600.0)
    broker = BrokerHealth(redis_server.url)
    broker.require_writable()
    redis_server.client().config_set("maxmemory", 1)
    broker.require_writable()  # the control: the earlier result is still used
    broker.expire()
    with pytest.raises(BrokerUnavailable):
        broker.require_writable()
