"""The embedded broker: closed, durable, and gone when told."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from cli.services.redis import EmbeddedRedis
from cli.services.sockets import find_free_ports, list_listeners
from cli.services.supervised import SupervisedService, stop_together
from tests.servers import is_loopback, wait_for

pytestmark = pytest.mark.services


def make(folder: Path, port: int, maxmemory_bytes: int = 8 * 2**20) -> EmbeddedRedis:
    return EmbeddedRedis(
        folder / 'with "quotes"', port, folder / "redis.log", lambda *_: None, maxmemory_bytes
    )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    made = make(tmp_path, find_free_ports(1)[0])
    made.start()
    wait_for("Redis answers", made.ready)
    yield made
    made.kill()


def test_listens_on_loopback_behind_a_password(server: EmbeddedRedis) -> None:
    assert server.pid is not None
    sockets = list_listeners(server.pid)
    assert [port for _, port in sockets] == [server.port]
    assert all(is_loopback(address) for address, _ in sockets)
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=server.port).ping()
    password = server.url.split("@")[0].rpartition(":")[2]
    assert password not in Path(f"/proc/{server.pid}/cmdline").read_text()


def test_nothing_is_lost_by_a_kill_or_evicted_when_full(server: EmbeddedRedis, tmp_path: Path) -> None:
    client = redis.Redis.from_url(server.url)
    client.lpush("search", "one", "two")
    fillers = {f"filler-{number}": b"x" * 100_000 for number in range(200)}

    def fill() -> None:
        for name, value in fillers.items():
            client.set(name, value)

    with pytest.raises(redis.OutOfMemoryError):
        fill()
    assert client.llen("search") == 2
    # What was written is on the way to the file once a second.
    wait_for("the file has it", lambda: client.info("persistence")["aof_pending_bio_fsync"] == 0)
    server.kill()
    again = make(tmp_path, server.port)
    again.start()
    try:
        wait_for("Redis answers again", again.ready)
        assert again.url == server.url
        assert redis.Redis.from_url(again.url).lrange("search", 0, -1) == [b"two", b"one"]
    finally:
        again.kill()


def test_ends_when_asked(server: EmbeddedRedis) -> None:
    stop_together([SupervisedService("redis", server, 20.0)], lambda _: None, lambda: False)
    assert server.poll() in (0, -signal.SIGTERM)
    assert not server.ready()
