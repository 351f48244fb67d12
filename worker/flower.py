"""Starts Flower behind a password: ``python -m worker.flower``. Secrets go by the environment,
never by argv, where every user of the machine could read them."""

from __future__ import annotations

import os
import secrets
import sys

from shared.settings import get_settings

#: Finished tasks that Flower keeps in memory.
_MAX_TASKS = "10000"


def main() -> None:
    settings = get_settings()
    flower = settings.flower
    password = flower.password.get_secret_value() if flower.password else secrets.token_urlsafe(16)
    if flower.password is None:
        print(f"Flower: user {flower.user}, password {password}", file=sys.stderr, flush=True)
    os.environ["FLOWER_BASIC_AUTH"] = f"{flower.user}:{password}"
    os.environ["FLOWER_MAX_TASKS"] = _MAX_TASKS
    options = [f"--address={flower.host}", f"--port={flower.port}", "--enable-events"]
    argv = [sys.executable, "-m", "celery", "-A", "worker.app", "flower", *options]
    os.execv(sys.executable, argv)  # noqa: S606  # takes this process's place: signals reach Flower


if __name__ == "__main__":
    main()
