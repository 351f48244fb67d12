"""Ports that `vitrine up` needs, and who has them already."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cli.services.sockets import is_free, list_listeners
from shared.errors import Conflict


@dataclass(frozen=True, slots=True)
class PortRequest:
    """A port, what for, and the variable that changes it."""

    port: int
    purpose: str
    variable: str


def find_port_holder(port: int) -> tuple[int, str] | None:
    """Return process id and command line of who listens on the port, None when /proc does not tell."""
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


def check_free(wanted: list[PortRequest]) -> None:
    """Raise Conflict, naming the process in the way and what to do, unless all ports are free."""
    for each in wanted:
        if is_free(each.port):
            continue
        found = find_port_holder(each.port)
        who = f"process {found[0]} ({found[1]})" if found else "another program"
        raise Conflict(
            f"Port {each.port}, wanted for {each.purpose}, is in use by {who}. "
            f"Stop it, or choose another port: {each.variable}=N."
        )
