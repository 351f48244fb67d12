"""Waiters are notified of the end of their own search only; also after the broker was away."""

from __future__ import annotations

from shared.broker.result_channel import MAX_CHARACTERS, Notification, ResultNotifier, ResultWaiter
from tests.servers import RedisServer, wait_for


def is_notified(waiter: ResultWaiter, notifier: ResultNotifier, search_id: str) -> bool:
    """Return whether a notification arrives; published again until the subscription is there."""
    with waiter.waiting_for(search_id) as pending:

        def publish() -> bool:
            notifier.notify([Notification("another"), Notification(search_id)])
            return pending.wait(0.2) is not None

        return wait_for("the notification arrives", publish, within_s=60)


def test_each_waiter_is_notified_of_its_own_search(redis_server: RedisServer) -> None:
    waiter, notifier = ResultWaiter(redis_server.url), ResultNotifier(redis_server.url)
    assert is_notified(waiter, notifier, "one")
    with waiter.waiting_for("two") as two, waiter.waiting_for("three") as three:
        notifier.notify([Notification("three", '{"state": "succeeded \u00fc"}')])
        assert three.wait(60) == Notification("three", '{"state": "succeeded \u00fc"}')
        assert two.wait(0) is None


def test_a_long_answer_is_not_published_but_read_from_the_database(redis_server: RedisServer) -> None:
    waiter, notifier = ResultWaiter(redis_server.url), ResultNotifier(redis_server.url)
    assert is_notified(waiter, notifier, "one")
    long_text, short_text = "x" * (MAX_CHARACTERS + 1), "x" * MAX_CHARACTERS
    with waiter.waiting_for("long") as long, waiter.waiting_for("short") as short:
        notifier.notify([Notification("long", long_text), Notification("short", short_text)])
        assert long.wait(60) == Notification("long")
        assert short.wait(60) == Notification("short", short_text)


def test_notifications_arrive_again_when_the_broker_is_back(redis_server: RedisServer) -> None:
    waiter, notifier = ResultWaiter(redis_server.url), ResultNotifier(redis_server.url)
    assert is_notified(waiter, notifier, "one")
    redis_server.kill()
    # Neither side raises; the waiting thread polls instead.
    notifier.notify([Notification("one")])
    redis_server.start()
    assert is_notified(waiter, notifier, "two")
