"""All of Vitrine's processes, started as in production, each of which a test may freeze or kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from shared.errors import IndexUnavailable
from tests.servers import PATIENCE_S, RedisServer, free_port, wait_for
from worker.vector_index import MilvusIndex

ROOT = Path(__file__).parent.parent

COMMANDS: dict[str, list[str]] = {
    "web": ["gunicorn", "-c", "web/gunicorn_conf.py", "web.wsgi:app"],
    "search": ["celery", "-A", "worker.app", "worker", "--queues", "search", "--hostname", "search@%h"],
    "catalogue": [
        "celery",
        "-A",
        "worker.app",
        "worker",
        "--queues",
        "catalogue",
        "--hostname",
        "catalogue@%h",
    ],
    "maintenance": ["worker.maintenance"],
    "flower": ["worker.flower"],
}


class Stack:
    """A running Vitrine.

    Args:
        folder: its data folder.
        milvus_uri: of a running Milvus; ``prefix`` keeps tests apart in it.
        settings: further ``VITRINE_`` variables.
    """

    def __init__(
        self, folder: Path, milvus_uri: str, prefix: str, settings: dict[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.redis = RedisServer(folder / "redis")
        self.port = free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.env = {
            **os.environ,
            "VITRINE_DATA_DIR": str(folder / "data"),
            "VITRINE_REDIS__URL": self.redis.url,
            "VITRINE_MILVUS__URI": milvus_uri,
            "VITRINE_MILVUS__PREFIX": prefix,
            "VITRINE_WEB__PORT": str(self.port),
            "VITRINE_WEB__SEARCHES_PER_MINUTE": "100000",
            # Models that load at once: what is tested here is what surrounds them.
            "VITRINE_MODELS__DETECTOR": "none",
            "VITRINE_MODELS__EMBEDDER": "colour-histogram",
            # Many commits a chunk: a fault can hit between two of them, on a quick machine too.
            "VITRINE_MODELS__MICRO_BATCH": "4",
            "VITRINE_SWEEP__INTERVAL_S": "0.5",
            "VITRINE_SWEEP__REPUBLISH_AFTER_S": "2",
            # A job that nobody asked for would come between others; its own test asks for it.
            "VITRINE_CALIBRATION__AUTO": "false",
            "PYTHONUNBUFFERED": "1",
            **(settings or {}),
        }

    @property
    def database_url(self) -> str:
        inside = f"sqlite:///{self.env['VITRINE_DATA_DIR']}/vitrine.sqlite3"
        return self.env.get("VITRINE_DATABASE__URL", inside)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=PATIENCE_S, transport=httpx.HTTPTransport(retries=2))

    def run_module(self, module: str) -> None:
        subprocess.run([sys.executable, "-m", module], cwd=ROOT, env=self.env, check=True)

    def start(self, *names: str) -> None:
        """Start Redis, migrate, and start the named processes; all but Flower when none is named."""
        if self.redis.process is None or self.redis.process.poll() is not None:
            self.redis.start()
        self.run_module("shared.database.migrate")
        for name in names or ("web", "search", "catalogue", "maintenance"):
            self.start_one(name)
        wait_for("web answers", self._web_answers)
        if not names:
            wait_for("everything is ready", self.ready, every_s=0.3)

    def start_one(self, name: str, env: dict[str, str] | None = None) -> None:
        """Start a process, with further environment variables of its own."""
        log_path = self.folder / f"{name}.log"
        with log_path.open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", *COMMANDS[name]],
                cwd=ROOT,
                env={**self.env, **(env or {})},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start_again(self, name: str) -> None:
        """Start a worker that was killed, and wait until it is ready."""
        before = self.log(name).count("ready:")
        self.start_one(name)
        wait_for(f"{name} is back", lambda: self.log(name).count("ready:") > before)

    def _web_answers(self) -> bool:
        try:
            return self.client().get("/healthz").status_code == 200
        except httpx.HTTPError:
            return False

    def status(self) -> dict[str, Any]:
        """What the web knows of the whole system; empty while it does not answer."""
        try:
            found: dict[str, Any] = self.client().get("/v1/status").json()
        except (httpx.HTTPError, ValueError):
            return {}
        return found

    def ready(self) -> bool:
        return bool(self.status().get("ready"))

    def signal(self, name: str, what: signal.Signals) -> None:
        """Send a signal to a process and all its children."""
        os.killpg(self.processes[name].pid, what)

    def freeze(self, name: str) -> None:
        """Stop a process and its children where they are; returns when no thread of theirs runs."""
        self.signal(name, signal.SIGSTOP)
        wait_for(f"{name} is frozen", lambda: self._is_frozen(name), every_s=0.002)

    def _is_frozen(self, name: str) -> bool:
        group = str(self.processes[name].pid)
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if _stat(entry)[2] != group:
                    continue
                states = {_stat(thread)[0] for thread in (entry / "task").iterdir()}
            except OSError:  # it has just ended
                continue
            if not states <= set("TtZX"):
                return False
        return True

    def kill(self, name: str) -> None:
        """kill -9 of a process and its children, frozen ones too."""
        process = self.processes[name]
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def child_pid(self, name: str) -> int:
        """The pool's child of a Celery worker: the one that does the work."""
        parent = self.processes[name].pid

        def find() -> int | None:
            for entry in Path("/proc").iterdir():
                if not entry.name.isdecimal():
                    continue
                try:
                    fields = _stat(entry)
                    command = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if int(fields[1]) == parent and b"spawn_main" in command:
                    return int(entry.name)
            return None

        return wait_for("the pool has a child", find)

    def stop(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGCONT)
                process.terminate()
        for name, process in self.processes.items():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill(name)
        self.redis.kill()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    # What a client does.

    def import_folder(self, catalogue: str, archive: bytes) -> str:
        answer = self.client().post(
            f"/v1/catalogues/{catalogue}/imports",
            content=archive,
            headers={"Content-Type": "application/zip"},
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client().get(f"/v1/jobs/{job_id}").json()
        return found

    def wait_job(self, job_id: str) -> dict[str, Any]:
        """Return the job when it has ended; from then on searches see what it wrote."""

        def finished() -> dict[str, Any] | None:
            try:
                job = self.job(job_id)
            except httpx.HTTPError:
                return None
            return job if job.get("state") in ("succeeded", "failed", "cancelled") else None

        job = wait_for(f"job {job_id} ends", finished, every_s=0.2)
        self._wait_until_searches_see_it()
        return job

    def _wait_until_searches_see_it(self) -> None:
        """A search is bounded in how stale it may be, not fresh; after a strong read it is fresh too."""
        index = MilvusIndex(self.env["VITRINE_MILVUS__URI"])

        def counted() -> bool:
            try:
                for name in index.collections():
                    if name.startswith(self.env["VITRINE_MILVUS__PREFIX"]):
                        index.count(name)
            except IndexUnavailable:
                return False
            return True

        wait_for("the index has caught up", counted)
        index.close()

    def search(self, photo: bytes, catalogue: str, **options: Any) -> httpx.Response:
        return self.client().post(
            "/v1/searches", files={"image": ("photo.jpg", photo)}, data={"catalogue": catalogue, **options}
        )

    def wait_task(self, task_id: str) -> dict[str, Any]:
        def finished() -> dict[str, Any] | None:
            try:
                task: dict[str, Any] = self.client().get(f"/v1/tasks/{task_id}").json()
            except httpx.HTTPError:
                return None
            return task if task.get("state") in ("succeeded", "failed", "cancelled") else None

        return wait_for(f"task {task_id} ends", finished, every_s=0.1)

    def settle(self, seconds: float) -> None:
        """Let time pass where the passing of time is what is tested."""
        time.sleep(seconds)


def _stat(entry: Path) -> list[str]:
    """State, parent, process group and more of a process or thread in ``/proc``."""
    return (entry / "stat").read_text().rpartition(")")[2].split()
