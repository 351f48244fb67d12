"""Check the ports that `vitrine up` needs, and find processes that use them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cli.services.sockets import is_free, list_listeners
from shared.errors import Conflict


@dataclass(frozen=True, slots=True)
class PortRequest:
    """A required port, its purpose, and the variable that changes it."""

    port: int
    purpose: str
    variable: str


def find_port_holder(port: int) -> tuple[int, str] | None:
    """Return process id and command line of the listener of a port, None if /proc does not show it."""
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        if any(taken == port for _, taken in list_listeners(pid)):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                return None
            # Program and script only: the further arguments may contain another user's secrets.
            return pid, " ".join(word.decode(errors="replace") for word in words[:3] if word)
    return None


def check_free(required: list[PortRequest]) -> None:
    """Raise Conflict with the process that uses a port and what to do, unless all ports are free."""
    for each in required:
        if is_free(each.port):
            continue
        found = find_port_holder(each.port)
        who = f"process {found[0]} ({found[1]})" if found else "another program"
        raise Conflict(
            f"Port {each.port}, needed for {each.purpose}, is in use by {who}. "
            f"Stop it, or choose another port: {each.variable}=N."
        )
