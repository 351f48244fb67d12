"""Health check of a container: ``health.py http://127.0.0.1:8000/healthz`` or ``health.py presence:search``.

The first form wants an answer of 200. The second wants a process of that role in this container
that has said it is ready in the last 30 seconds. Exits 0 when healthy, 1 otherwise, with the reason.
"""

from __future__ import annotations

import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path

TIMEOUT_S = 4.0
MAX_AGE_S = 30.0


def check_http(url: str) -> str | None:
    """Return what is wrong with the answer of ``url``, or None."""
    # No proxy: the address is this container's own.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT_S) as answer:
            return None if answer.status == 200 else f"{url} answers {answer.status}"
    except (OSError, urllib.error.URLError) as error:
        return f"{url}: {error}"


def check_presence(role: str) -> str | None:
    """Return why no process of ``role`` is ready on this host, or None."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from shared.database import Database
    from shared.errors import VitrineError
    from shared.presence import Presence
    from shared.settings import get_settings

    try:
        database = Database(get_settings().database_url)
        alive = Presence(database).alive(MAX_AGE_S)
    except VitrineError as error:
        return str(error)
    host = socket.gethostname()
    if any(process.role == role and process.host == host for process in alive):
        return None
    return f"no {role} process of {host} has been seen for {MAX_AGE_S:.0f} s"


def main(arguments: list[str]) -> int:
    """Run the check that the one argument names; return the exit code."""
    if len(arguments) != 1:
        print(__doc__)
        return 2
    target = arguments[0]
    kind, _, role = target.partition(":")
    problem = check_presence(role) if kind == "presence" else check_http(target)
    if problem is not None:
        print(problem)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
