"""Start all services in order, keep them running, and stop them in order."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

from cli.client import VitrineClient
from cli.services import checks
from cli.services.addresses import flower_url, local_url
from cli.services.milvus import EmbeddedMilvus, choose_embedded
from cli.services.narrator import Narrator
from cli.services.plan import (
    GRACE_S,
    MILVUS_GRACE_S,
    MILVUS_HANG_TIMEOUT_S,
    Program,
    environment,
    make_child,
    programs,
)
from cli.services.ports import check_free
from cli.services.redis import EmbeddedRedis
from cli.services.run_state import DataDirLock, RunState, read_start_time, stop_leftovers
from cli.services.secret_files import read_or_create_secret
from cli.services.service_health import FileHealth, ProbedHealth
from cli.services.sockets import is_free
from cli.services.supervised import SupervisedService, restart_ended, stop_together
from shared.database import Database
from shared.database.migrate import migrate
from shared.errors import Unavailable, VitrineError
from shared.health.files import health_file
from shared.settings import Settings
from shared.storage.private_files import secure_data_folder

_TICK_S = 0.1
#: Interval of readiness checks, each of which the web server logs.
_CHECK_INTERVAL_S = 0.5
_HINT_INTERVAL_S = 20.0
#: Parts of `/v1/status` that a start does not wait for.
_OPTIONAL_PARTS = ("search_lane", "catalogue_lane", "collections")


class StopRequested(Exception):
    """Ctrl-C or SIGTERM was received."""


class Supervisor:
    """Runs Vitrine on one machine.

    Args:
        settings: settings with known ports (not 0).
        narrator: output of progress and logs.
    """

    def __init__(self, settings: Settings, narrator: Narrator) -> None:
        self.settings = settings
        self.narrator = narrator
        self.log_dir = settings.data_dir / "logs"
        key = settings.web.api_key
        self.client = VitrineClient(
            local_url(settings), key.get_secret_value() if key else None, timeout_s=5.0
        )
        self._lock = DataDirLock(settings.data_dir)
        self._servers: list[SupervisedService] = []
        self._programs: list[SupervisedService] = []
        self._ready = False
        self._signals = 0
        # By the database's clock, as the times in the rows of processes.
        self._began_at = 0.0

    @property
    def stopping(self) -> bool:
        """Whether a stop was requested."""
        return self._signals > 0

    def request_stop(self, *_: object) -> None:
        """Request an orderly stop; the second call kills everything. A signal handler."""
        self._signals += 1

    def run(self, when_ready: Callable[[], None]) -> None:
        """Start all services, call ``when_ready``, and supervise until a stop is requested.

        Call it in the main thread, because the kernel ends the children when the thread that started them
        ends.

        Raises:
            VitrineError: the start failed; started services are stopped.
        """
        self._lock.acquire()
        try:
            self._check()
            closed = secure_data_folder(self.settings.data_dir, whole=True)
            if closed:
                self.narrator.say(
                    f"closed {closed} files and folders of the data folder to other users of this machine"
                )
            self._start()
            when_ready()
            while True:
                self._tick()
        except StopRequested:
            pass
        finally:
            self._stop_all()
            self.client.close()
            self._lock.release()

    def flower_password(self) -> str:
        """Return Flower's password: that of the settings, else one generated once for this data folder."""
        given = self.settings.flower.password
        if given is not None:
            return given.get_secret_value()
        return read_or_create_secret(self.settings.data_dir / "flower" / "password")

    def _check(self) -> None:
        checks.check_python()
        checks.check_folder(Path.cwd())
        checks.check_disk(self.settings.data_dir)
        leftovers = self._lock.list_leftovers()
        if leftovers:
            names = ", ".join(process.name for process in leftovers)
            self.narrator.say(f"stopping processes that a killed Vitrine left behind: {names}")
            stop_leftovers(leftovers)
        check_free(checks.list_required_ports(self.settings))

    def _start(self) -> None:
        redis_url = self._start_redis()
        with self.narrator.waiting_for("the database"):
            self._migrate()
        milvus = self._new_milvus()
        milvus_uri = milvus.uri if milvus else self.settings.milvus_uri
        environ = environment(self.settings, redis_url, milvus_uri, self.flower_password())
        all_programs = programs()
        # Programs that do not need the index start while it loads.
        started = [(each, self._launch(each, environ)) for each in all_programs if not each.needs_index]
        if milvus:
            self._start_milvus(milvus)
        started += [(each, self._launch(each, environ)) for each in all_programs if each.needs_index]
        for program, entry in started:
            with self.narrator.waiting_for(program.title, entry.started_at):
                self._wait(partial(self._is_ready, program), program.title, entry)
        self._wait(self._all_ready, "Vitrine")
        self._ready = True
        self._publish()

    def _start_redis(self) -> str:
        """Start the embedded broker unless another is set; return the broker's address."""
        if not checks.starts_redis(self.settings):
            return self.settings.redis_url
        folder, log_path = self.settings.data_dir / "redis", self.log_dir / "redis.log"
        settings = self.settings.redis
        redis = EmbeddedRedis(folder, settings.port, log_path, self.narrator.log)
        entry = SupervisedService("redis", redis, GRACE_S, redis.tail)
        with self.narrator.waiting_for("Redis"):
            self._add(self._servers, entry)
            self._wait(redis.ready, "Redis", entry)
        return redis.url

    def _new_milvus(self) -> EmbeddedMilvus | None:
        """Return the embedded index, not started yet; None if another is set."""
        settings = self.settings.milvus
        if not checks.starts_milvus(self.settings):
            return None
        return choose_embedded(settings.embedded, self.settings.data_dir / "milvus", settings.port)

    def _start_milvus(self, milvus: EmbeddedMilvus) -> None:
        entry = SupervisedService(
            "milvus",
            milvus,
            MILVUS_GRACE_S,
            lambda: [f"Its log is {milvus.log_path}."],
            ProbedHealth(milvus.ready),
            MILVUS_HANG_TIMEOUT_S,
        )
        title = "Milvus" if milvus.kind == "server" else "Milvus Lite"
        with self.narrator.waiting_for(title):
            self._add(self._servers, entry)
            self._wait(milvus.ready, title, entry)

    def _migrate(self) -> None:
        database = Database(self.settings.database_url)
        try:
            migrate(database)
            self._began_at = database.clock.now_s()
        finally:
            database.close()

    def _launch(self, program: Program, environ: dict[str, str]) -> SupervisedService:
        child = make_child(program, environ, self.log_dir, self.narrator.log)
        health = None
        if program.role is not None:
            health = FileHealth(health_file(self.settings.data_dir, f"{program.role}@{socket.gethostname()}"))
        entry = SupervisedService(
            program.name, child, program.grace_s, child.tail, health, program.hang_timeout_s
        )
        self._add(self._programs, entry)
        return entry

    def _add(self, group: list[SupervisedService], entry: SupervisedService) -> None:
        self._raise_if_stopping()
        group.append(entry)
        entry.start()
        self._publish()

    def _is_ready(self, program: Program) -> bool:
        if program.name == "flower":
            return not is_free(self.settings.flower.port)
        try:
            if program.role is None:
                self.client.health()
                return True
            # The row of a killed process is recent for a while, so only newer processes count.
            return any(
                each["role"] == program.role
                and datetime.fromisoformat(each["started_at"]).timestamp() >= self._began_at
                for each in self.client.status()["processes"]
            )
        except VitrineError:
            return False

    def _all_ready(self) -> bool:
        """Return whether each required part is ok; waiting does not fix the optional ones."""
        try:
            parts: dict[str, str] = self.client.status()["parts"]
        except VitrineError:
            return False
        return all(state == "ok" for part, state in parts.items() if part not in _OPTIONAL_PARTS)

    def _wait(self, condition: Callable[[], bool], what: str, entry: SupervisedService | None = None) -> None:
        """Supervise until the condition holds; print the last log line of a slow service."""
        began = hinted = time.monotonic()
        while not condition():
            checked = time.monotonic()
            limit_s = self.settings.start_limit_s
            if checked - began > limit_s:
                raise Unavailable(
                    f"{what} was not ready after {limit_s:.0f} s; the logs are in {self.log_dir}. "
                    "On a slow or busy machine, set VITRINE_START_LIMIT_S to more seconds."
                )
            if entry is not None and checked - hinted > _HINT_INTERVAL_S:
                hinted = checked
                last = next(iter(entry.read_tail()[-1:]), "none")
                self.narrator.say(f"still waiting for {what}; its last line: {last}")
            while time.monotonic() - checked < _CHECK_INTERVAL_S:
                self._tick()

    def _tick(self) -> None:
        """Restart services that ended, and sleep briefly."""
        self._raise_if_stopping()
        if restart_ended((*self._servers, *self._programs), self.narrator.say, is_starting=not self._ready):
            self._publish()
        time.sleep(_TICK_S)

    def _raise_if_stopping(self) -> None:
        if self.stopping:
            raise StopRequested

    def _stop_all(self) -> None:
        """Stop our own programs together, workers first; then the index, then the broker."""
        if not self._servers and not self._programs:
            return
        self.narrator.say("stopping; a second Ctrl-C kills all services")
        for group in (self._programs[::-1], *([entry] for entry in reversed(self._servers))):
            stop_together(group, self.narrator.say, lambda: self._signals > 1)
        self.narrator.say("stopped")

    def _publish(self) -> None:
        self._lock.publish(
            RunState(
                pid=os.getpid(),
                started=read_start_time(os.getpid()),
                url=local_url(self.settings),
                flower_url=flower_url(self.settings),
                ready=self._ready,
                services=[entry.state() for entry in (*self._servers, *self._programs)],
            )
        )
