"""`vitrine down`: stop the services that `vitrine up` started on this data folder."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import click

from cli.output import json_option, print_json, stderr_console
from cli.services.run_state import RunState, is_locked, read_run_state, read_start_time
from shared.errors import Unavailable
from shared.settings import get_settings

#: Workers finish their batch within 45 s, then index and broker end.
_GRACE_S = 90.0
_KILL_GRACE_S = 15.0


@click.command(epilog="Example: vitrine down")
@json_option
def down(as_json: bool) -> None:
    """Stop all services that `vitrine up` started, and wait for their end. The data is kept."""
    data_dir = get_settings().data_dir
    state = read_run_state(data_dir)
    if state is None and is_locked(data_dir):
        raise Unavailable(f"Vitrine on {data_dir} is starting or stopping: try again.")
    if state is not None:
        # The lock shows that a supervisor runs; the start time, that the id still belongs to it.
        if read_start_time(state.pid) != state.started:
            raise Unavailable(f"{data_dir}/running.json has no running process: stop Vitrine manually.")
        stderr_console().print(f"stopping Vitrine (process {state.pid})", soft_wrap=True)
        _stop(state, data_dir)
    if as_json:
        print_json({"stopped": state is not None})
    else:
        stderr_console().print("Vitrine has stopped." if state else "Vitrine was not running.")


def _stop(state: RunState, data_dir: Path) -> None:
    # At the second signal, the supervisor kills the remaining processes.
    for grace_s in (_GRACE_S, _KILL_GRACE_S):
        with contextlib.suppress(ProcessLookupError):
            os.kill(state.pid, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline:
            if not is_locked(data_dir) and read_start_time(state.pid) != state.started:
                return
            time.sleep(0.1)
    raise Unavailable(f"Vitrine (process {state.pid}) did not end: kill -9 {state.pid}")
