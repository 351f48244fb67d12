"""Faults: each is put in, lasts for a while, and is taken out again."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import create_engine, text

from tests.chaos.site import WORKERS, ImageDisk, Site
from tests.faketime import find_library
from tests.servers import PATIENCE_S

#: How long a fault lasts, in seconds.
SHORT, LONG = (0.3, 3.0), (5.0, 15.0)


@dataclass(frozen=True)
class Fault:
    """A fault of one kind.

    Attributes:
        name: under which recovery times are reported.
        lasts_s: bounds of its duration.
        inject: puts it in.
        heal: takes it out.
    """

    name: str
    lasts_s: tuple[float, float]
    inject: Callable[[], None]
    heal: Callable[[], None]


def choose(site: Site, disk: ImageDisk, chance: random.Random) -> Fault:
    """Return a fault, each kind equally often."""
    kinds = [_kill_worker, _kill_child, _freeze_worker, _kill_web, _kill_broker, _wipe_broker, _fill_broker]
    kinds += [_freeze_broker, _kill_milvus, _freeze_milvus, _cut_database, _kill_maintenance]
    if disk.is_mounted:
        kinds.append(lambda site, chance: _fill_disk(disk))
    if find_library() is not None:
        kinds.append(_skew_clock)
    return chance.choice(kinds)(site, chance)


def _nothing() -> None:
    """Heal a fault that ends by itself."""


def _kill(site: Site, name: str, what: str) -> Fault:
    def inject() -> None:
        site.signal(name, signal.SIGSTOP)
        site.settle(0.3)
        site.kill(name)

    return Fault(what, SHORT, inject, lambda: site.start_one(name))


def _kill_worker(site: Site, chance: random.Random) -> Fault:
    return _kill(site, chance.choice(WORKERS), "worker killed")


def _kill_maintenance(site: Site, chance: random.Random) -> Fault:
    return _kill(site, chance.choice(("maintenance-a", "maintenance-b")), "maintenance killed")


def _kill_web(site: Site, chance: random.Random) -> Fault:
    return _kill(site, "web", "web killed")


def _kill_child(site: Site, chance: random.Random) -> Fault:
    name = chance.choice(WORKERS)
    return Fault("pool child killed", SHORT, lambda: os.kill(site.child_pid(name), signal.SIGKILL), _nothing)


def _freeze_worker(site: Site, chance: random.Random) -> Fault:
    name = chance.choice(WORKERS)
    return Fault(
        "worker frozen",
        LONG,
        lambda: site.signal(name, signal.SIGSTOP),
        lambda: site.signal(name, signal.SIGCONT),
    )


def _kill_broker(site: Site, chance: random.Random) -> Fault:
    return Fault("broker killed", LONG, site.redis.kill, site.redis.start)


def _wipe_broker(site: Site, chance: random.Random) -> Fault:
    return Fault("broker wiped", SHORT, site.redis.wipe, site.redis.start)


def _fill_broker(site: Site, chance: random.Random) -> Fault:
    def limit(size: str) -> None:
        site.redis.client().config_set("maxmemory", size)

    return Fault("broker full", LONG, lambda: limit("1mb"), lambda: limit("128mb"))


def _freeze_broker(site: Site, chance: random.Random) -> Fault:
    return Fault(
        "broker frozen",
        LONG,
        lambda: site.redis.send(signal.SIGSTOP),
        lambda: site.redis.send(signal.SIGCONT),
    )


def _kill_milvus(site: Site, chance: random.Random) -> Fault:
    def start() -> None:
        site.milvus.start()
        site.milvus.wait_ready(PATIENCE_S)

    return Fault("Milvus killed", LONG, site.milvus.kill, start)


def _freeze_milvus(site: Site, chance: random.Random) -> Fault:
    def send(what: signal.Signals) -> None:
        if site.milvus.pid is not None:
            os.killpg(site.milvus.pid, what)

    return Fault("Milvus frozen", LONG, lambda: send(signal.SIGSTOP), lambda: send(signal.SIGCONT))


def _cut_database(site: Site, chance: random.Random) -> Fault:
    def cut() -> None:
        engine = create_engine(site.database_url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        engine.dispose()

    return Fault("database connections cut", SHORT, cut, _nothing)


def _fill_disk(disk: ImageDisk) -> Fault:
    return Fault("image disk full", LONG, disk.fill, disk.free)


def _skew_clock(site: Site, chance: random.Random) -> Fault:
    """Start a process again under a wrong clock, which it keeps until its next such fault."""
    name = chance.choice((*WORKERS, "maintenance-a", "maintenance-b"))
    skew = chance.choice((-3600, -60, 60, 3600, 0))

    def inject() -> None:
        site.skews[name] = skew
        site.kill(name)

    return Fault("clock skewed", SHORT, inject, lambda: site.start_one(name))
