"""Health check of a container: ``health.py http://127.0.0.1:8000/healthz`` or ``health.py process:search``.

The first form requires an answer of 200. The second requires that the process of that role in this
container has recently touched its health file, as it does while it consumes and its lane makes progress.
It needs neither the database nor the broker. Exits 0 when healthy, 1 otherwise, with the reason.

``process:search --end-after 30`` also ends a process that is unhealthy for 30 seconds or says so itself:
Docker restarts a container that ends, and does nothing with one that is unhealthy.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

TIMEOUT_S = 4.0


def check_http(url: str) -> str | None:
    """Return the problem with the answer of ``url``, or None."""
    import urllib.error
    import urllib.request

    # No proxy: the address is this container's own.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT_S) as answer:
            return None if answer.status == 200 else f"{url} answers {answer.status}"
    except (OSError, urllib.error.URLError) as error:
        return f"{url}: {error}"


def check_process(role: str, end_after_s: float | None = None) -> str | None:
    """Return why the process of ``role`` in this container gets no work done, or None."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    # Imports nothing of Vitrine but this: the check runs every few seconds.
    from shared.health.files import MAX_AGE_S, age_s, end, health_file

    folder = Path(os.environ.get("VITRINE_DATA_DIR", ".vitrine"))
    process = f"{role}@{socket.gethostname()}"
    path = health_file(folder, process)
    age = age_s(path)
    if age is None:
        return f"{process} has not started to work"
    if age <= MAX_AGE_S:
        return None
    ended = end_after_s is not None and age > end_after_s and end(path)
    return f"{process} gets no work done: " + ("it was ended" if ended else "its log says why")


def main(arguments: list[str]) -> int:
    """Run the check that the arguments name; return the exit code."""
    if len(arguments) not in (1, 3) or arguments[1:2] not in ([], ["--end-after"]):
        print(__doc__)
        return 2
    kind, _, role = arguments[0].partition(":")
    end_after_s = float(arguments[2]) if len(arguments) == 3 else None
    problem = check_process(role, end_after_s) if kind == "process" else check_http(arguments[0])
    if problem is not None:
        print(problem)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
