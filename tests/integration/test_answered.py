"""Who waits for a search is told of its end, and not of others'; also after the broker was away."""

from __future__ import annotations

from shared.answered import MOST_CHARACTERS, Announcer, Audience, Word
from tests.servers import RedisServer, wait_for


def told(audience: Audience, announcer: Announcer, search_id: str) -> bool:
    """Whether a word reaches who waits; said again until the subscription is there."""
    with audience.waiting_for(search_id) as waiting:

        def say() -> bool:
            announcer.announce([Word("another"), Word(search_id)])
            return waiting.wait(0.2) is not None

        return wait_for("the word arrives", say, within_s=60)


def test_each_hears_of_its_own_search(redis_server: RedisServer) -> None:
    audience, announcer = Audience(redis_server.url), Announcer(redis_server.url)
    assert told(audience, announcer, "one")
    with audience.waiting_for("two") as two, audience.waiting_for("three") as three:
        announcer.announce([Word("three", '{"state": "succeeded \u00fc"}')])
        assert three.wait(60) == Word("three", '{"state": "succeeded \u00fc"}')
        assert two.wait(0) is None


def test_a_long_answer_is_not_said_but_looked_up(redis_server: RedisServer) -> None:
    audience, announcer = Audience(redis_server.url), Announcer(redis_server.url)
    assert told(audience, announcer, "one")
    with audience.waiting_for("long") as long, audience.waiting_for("short") as short:
        announcer.announce([Word("long", "x" * (MOST_CHARACTERS + 1)), Word("short", "x" * MOST_CHARACTERS)])
        assert long.wait(60) == Word("long")
        assert short.wait(60) == Word("short", "x" * MOST_CHARACTERS)


def test_the_word_comes_through_again_when_the_broker_is_back(redis_server: RedisServer) -> None:
    audience, announcer = Audience(redis_server.url), Announcer(redis_server.url)
    assert told(audience, announcer, "one")
    redis_server.kill()
    # Neither side raises; the waiting thread goes on by looking for itself.
    announcer.announce([Word("one")])
    redis_server.start()
    assert told(audience, announcer, "two")
