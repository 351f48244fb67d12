"""The system under test: PostgreSQL, Redis, Milvus and two workers of each lane, one process group each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cli.services.milvus import EmbeddedMilvus, choose_embedded
from cli.services.plan import MILVUS_HANG_TIMEOUT_S
from cli.services.service_health import ProbedHealth
from cli.services.supervised import SupervisedService
from tests.databases import new_postgres_database
from tests.faketime import WrongClock
from tests.servers import PATIENCE_S, free_port, start_postgres, wait_for
from tests.stack import COMMANDS, ROOT, Stack

WORKERS = ("search-a", "search-b", "catalogue-a", "catalogue-b")
SERVICES = ("web", *WORKERS, "maintenance-a", "maintenance-b")
#: Size of the file system that holds the images, so that a test can fill it.
IMAGE_DISK_MB = 256

SETTINGS = {
    "VITRINE_JOBS__CHUNK_ITEMS": "32",
    "VITRINE_JOBS__LEASE_S": "20",
    "VITRINE_SEARCH__LEASE_S": "15",
    "VITRINE_SEARCH__PROBE_SHARE": "0.05",
    "VITRINE_WEB__THREADS": "12",
    "VITRINE_IMAGES__MIN_FREE_BYTES": str(16 << 20),
}


class Site(Stack):
    """A Vitrine of several workers, whose processes may run under a wrong clock."""

    def __init__(self, folder: Path, database_url: str, milvus: EmbeddedMilvus) -> None:
        super().__init__(folder, milvus.uri, "chaos", {"VITRINE_DATABASE__URL": database_url, **SETTINGS})
        self.milvus = milvus
        health = ProbedHealth(milvus.ready)
        self._index = SupervisedService("milvus", milvus, 0.0, list, health, MILVUS_HANG_TIMEOUT_S)
        #: Seconds that a process's clock is ahead, by its name.
        self.skews: dict[str, int] = {}

    @property
    def database_url(self) -> str:
        return self.env["VITRINE_DATABASE__URL"]

    def start_all(self) -> None:
        """Start Redis and every service, and wait until the web answers."""
        self.redis.start()
        self.run_module("shared.database.migrate")
        for name in SERVICES:
            self.start_one(name)
        wait_for("the web answers", self._web_answers)

    def start_one(self, name: str, env: dict[str, str] | None = None) -> None:
        role, _, which = name.partition("-")
        command = list(COMMANDS[role])
        if which and role != "maintenance":
            command[-1] = f"{role}-{which}@%h"
        environment = {**self.env, **(env or {})}
        if skew := self.skews.get(name):
            environment |= WrongClock(self.folder / f"{name}.clock", skew).env
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def restart_ended(self) -> list[str]:
        """Start services again that ended by themselves, as every supervisor does; return their names.

        Milvus is also started again if it answers nothing any more, as `vitrine up` does.
        """
        ended = [name for name in SERVICES if self.processes[name].poll() is not None]
        for name in ended:
            self.start_one(name)
        if self.milvus.poll() is not None or self._index.is_hung():
            self.milvus.kill()
            self._index.start()
            self.milvus.wait_ready(PATIENCE_S)
            ended.append("milvus")
        return ended


class ImageDisk:
    """A small file system of its own for the image store; without the right to mount there is none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"
        folder.mkdir(parents=True)
        argv = ["mount", "-t", "tmpfs", "-o", f"size={IMAGE_DISK_MB}m,mode=700", "tmpfs", str(folder)]
        self.is_mounted = subprocess.run(argv, capture_output=True).returncode == 0

    def fill(self) -> None:
        """Leave no free byte."""
        with self._filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(1 << 20)):
                    pass
            except OSError:
                return

    def free(self) -> None:
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        if self.is_mounted:
            subprocess.run(["umount", "--lazy", str(self.folder)], check=False)


def open_servers(folder: Path) -> tuple[EmbeddedMilvus, str, list[object]]:
    """Start Milvus and PostgreSQL; return Milvus, the URL of an empty database, and what stops them."""
    milvus = choose_embedded("auto", folder / "milvus", free_port())
    milvus.start()
    server_url, stop_postgres = start_postgres(folder / "postgres")
    milvus.wait_ready(PATIENCE_S)
    return milvus, new_postgres_database(server_url), [stop_postgres, milvus.stop]
