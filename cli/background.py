"""Run the supervisor in the background."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console

from cli.models_in_use import models_in_use
from cli.services.addresses import flower_url, local_url
from cli.services.checks import ROOT
from cli.services.narrator import PipeNarrator
from cli.supervisor import Supervisor
from shared.errors import Unavailable, VitrineError
from shared.settings import Settings, get_settings
from shared.storage.private_files import secure_data_folder
from vitrine_client.answers import rebuild_error

_LOG_NAME = "vitrine.log"


def start(say: Callable[[str], None]) -> dict[str, Any]:
    """Start a supervisor in a session of its own; return its report when everything is ready.

    Args:
        say: called with each line of progress.

    Raises:
        VitrineError: the start failed, with the same error as in the foreground.
    """
    log_path = get_settings().data_dir / "logs" / _LOG_NAME
    # Before the first file is created: `mkdir` with parents would use the umask of the shell.
    if closed := secure_data_folder(get_settings().data_dir):
        say(f"closed {closed} files and folders of the data folder to other users of this machine")
    log_path.parent.mkdir(exist_ok=True)
    reading, writing = os.pipe()
    search_path = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH", "")) if p)
    with log_path.open("ab") as log, open(reading, encoding="utf-8") as messages:  # noqa: PTH123 - a descriptor
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "up", "--report-to", str(writing)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(writing,),
            env=os.environ | {"PYTHONPATH": search_path},
        )
        os.close(writing)
        # Terminating the command while it waits also stops the supervisor.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            for line in messages:
                message = json.loads(line)
                if "ready" in message:
                    ready: dict[str, Any] = message["ready"]
                    return ready
                if "error" in message:
                    raise rebuild_error(message["error"])
                say(message["say"])
        except KeyboardInterrupt:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
    raise Unavailable(f"Vitrine ended with code {process.wait()} while starting; see {log_path}.")


def supervise(settings: Settings, descriptor: int) -> None:
    """Run the supervisor in the process that ``start`` created; report to the descriptor."""
    narrator = PipeNarrator(descriptor, Console(highlight=False))
    supervisor = Supervisor(settings, narrator)
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, supervisor.request_stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def report() -> None:
        narrator.send({"ready": ready_document(supervisor)})
        narrator.close()

    try:
        supervisor.run(when_ready=report)
    except VitrineError as error:
        narrator.send({"error": {"code": error.code, "message": error.message}})
        raise


def ready_document(supervisor: Supervisor) -> dict[str, Any]:
    """Return the addresses, passwords and notes of this start."""
    settings = supervisor.settings
    notes: list[str] = []
    with contextlib.suppress(VitrineError):
        status = supervisor.client.status()
        notes = models_in_use(status["processes"]).notes
        if (missing := status["parts"].get("collections", "ok")) != "ok":
            notes = [*notes, missing]
    return {
        "pid": os.getpid(),
        "url": local_url(settings),
        "flower_url": flower_url(settings),
        "flower_user": settings.flower.user,
        "flower_password": supervisor.flower_password(),
        "data_dir": str(settings.data_dir),
        "notes": notes,
    }
