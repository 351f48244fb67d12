"""Programs that `vitrine up` starts, their order and environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cli.services.checks import ROOT
from cli.services.logged_child import Listener, LoggedChild
from shared.settings import Settings

#: A worker may finish its current batch; the remaining work waits in the database.
WORKER_GRACE_S = 45.0
GRACE_S = 15.0
#: With many rows SIGTERM does not end Milvus; acknowledged rows survive SIGKILL.
MILVUS_GRACE_S = 10.0
#: Milvus 2.3.5 loses the registration of its parts while it stands still for 10 s, as on a sleeping laptop.
#: It then runs on and answers nothing. A busy one may be slow to answer, so its restart waits.
MILVUS_HANG_TIMEOUT_S = 20.0
_CATALOGUE_NICE = 10


@dataclass(frozen=True, slots=True)
class Program:
    """One of our own processes.

    Attributes:
        needs_index: whether it starts after the index, because waiting work would fail before.
        role: role in `/v1/status`; None without a row there. A program with a role also touches a health
            file.
        hang_timeout_s: how long that file may be too old before the process is restarted.
    """

    name: str
    title: str
    arguments: tuple[str, ...]
    grace_s: float = GRACE_S
    nice: int = 0
    needs_index: bool = False
    role: str | None = None
    hang_timeout_s: float = 4.0


def programs() -> tuple[Program, ...]:
    """Return our own programs in the order of starting; they are stopped in reverse."""
    celery = ("-m", "celery", "-A", "worker.app", "worker")
    return (
        Program(
            "web",
            "the web server",
            ("-m", "gunicorn", "-c", str(ROOT / "web" / "gunicorn_conf.py"), "web.wsgi:app"),
            WORKER_GRACE_S,
        ),
        Program("maintenance", "the sweeper", ("-m", "worker.maintenance"), role="maintenance"),
        Program("flower", "Flower", ("-m", "worker.flower")),
        Program(
            "search",
            "the search worker",
            (*celery, "--queues", "search", "--hostname", "search@%h"),
            WORKER_GRACE_S,
            needs_index=True,
            role="search",
        ),
        Program(
            "catalogue",
            "the catalogue worker",
            (*celery, "--queues", "catalogue", "--hostname", "catalogue@%h"),
            WORKER_GRACE_S,
            # Imports must not slow searches down, so they have a lower priority.
            nice=_CATALOGUE_NICE,
            # On a busy machine it may get no processor time for a while, and a restart would cost more.
            hang_timeout_s=60.0,
            needs_index=True,
            role="catalogue",
        ),
    )


def make_child(
    program: Program, environment: Mapping[str, str], log_dir: Path, listener: Listener
) -> LoggedChild:
    """Return the program as a child that is not started yet."""
    argv = [sys.executable, *program.arguments]
    log_path = log_dir / f"{program.name}.log"
    return LoggedChild(program.name, argv, environment, log_path, listener, program.nice)


def environment(settings: Settings, redis_url: str, milvus_uri: str, flower_password: str) -> dict[str, str]:
    """Return the environment of our programs: that of this process, with the addresses of the services."""
    found = dict(os.environ)
    path = (str(ROOT), found.get("PYTHONPATH", ""))
    found.update(
        {
            "VITRINE_DATA_DIR": str(settings.data_dir),
            "VITRINE_REDIS__URL": redis_url,
            "VITRINE_MILVUS__URI": milvus_uri,
            "VITRINE_WEB__PORT": str(settings.web.port),
            "VITRINE_FLOWER__PASSWORD": flower_password,
            "PYTHONPATH": os.pathsep.join(part for part in path if part),
            "PYTHONUNBUFFERED": "1",
        }
    )
    return found
