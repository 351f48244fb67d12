"""Who waits for a search is told of its end, and not of others'; also after the broker was away."""

from __future__ import annotations

from shared.answered import Announcer, Audience
from tests.servers import RedisServer, wait_for


def told(audience: Audience, announcer: Announcer, search_id: str) -> bool:
    """Whether a word reaches who waits; said again until the subscription is there."""
    with audience.waiting_for(search_id) as event:

        def say() -> bool:
            announcer.announce(["another", search_id])
            return event.wait(0.2)

        return wait_for("the word arrives", say, within_s=60)


def test_each_hears_of_its_own_search(redis_server: RedisServer) -> None:
    audience, announcer = Audience(redis_server.url), Announcer(redis_server.url)
    assert told(audience, announcer, "one")
    with audience.waiting_for("two") as two, audience.waiting_for("three") as three:
        announcer.announce(["three"])
        assert three.wait(60)
        assert not two.is_set()


def test_the_word_comes_through_again_when_the_broker_is_back(redis_server: RedisServer) -> None:
    audience, announcer = Audience(redis_server.url), Announcer(redis_server.url)
    assert told(audience, announcer, "one")
    redis_server.kill()
    # Neither side raises; the waiting thread goes on by looking for itself.
    announcer.announce(["one"])
    redis_server.start()
    assert told(audience, announcer, "two")
