"""Find free ports and listening sockets (Linux)."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import ExitStack
from pathlib import Path

_LISTEN = "0A"


def find_free_ports(count: int) -> list[int]:
    """Return ``count`` different loopback ports that are free now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def is_free(port: int) -> bool:
    """Return whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        # As servers do, because a port in TIME_WAIT after a restart can be listened on.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def list_listeners(pid: int) -> list[tuple[str, int]]:
    """Return address and port of each listening TCP socket of a process; empty if it has ended.

    Read from /proc, which needs no privilege for processes of the same user.
    """
    inodes: set[str] = set()
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = str(descriptor.readlink())
            except OSError:
                continue  # closed since the listing
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    except OSError:
        return []
    found: set[tuple[str, int]] = set()
    for table in (Path(f"/proc/{pid}/net/tcp"), Path(f"/proc/{pid}/net/tcp6")):
        if not table.exists():
            continue
        for line in table.read_text("ascii").splitlines()[1:]:
            columns = line.split()
            if columns[3] == _LISTEN and columns[9] in inodes:
                address, port = columns[1].split(":")
                found.add((_address(address), int(port, 16)))
    return sorted(found)


def _address(kernel_hex: str) -> str:
    # The kernel prints 32-bit words in the machine's byte order (little-endian where this is used).
    raw = bytes.fromhex(kernel_hex)
    words = [raw[i : i + 4][::-1] for i in range(0, len(raw), 4)]
    return str(ipaddress.ip_address(b"".join(words)))
