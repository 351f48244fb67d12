"""A user's machine with the `vitrine` command: real services and real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from cli.services.sockets import find_free_ports

ROOT = Path(__file__).parents[1]


class Machine:
    """A user's machine: a data folder, ports that are free, and the `vitrine` command."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.web, self.flower, self.redis, self.milvus = find_free_ports(4)
        self.env = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "VITRINE_DATA_DIR": str(self.data),
            "VITRINE_WEB__PORT": str(self.web),
            "VITRINE_FLOWER__PORT": str(self.flower),
            "VITRINE_REDIS__PORT": str(self.redis),
            "VITRINE_MILVUS__PORT": str(self.milvus),
            # Models that load at once: what is tested here is what surrounds them.
            "VITRINE_MODELS__DETECTOR": "none",
            "VITRINE_MODELS__EMBEDDER": "colour-histogram",
            # The default limit is for people; beside other tests the worker of low priority may need more.
            "VITRINE_START_LIMIT_S": "700",
        }

    def vitrine(self, *words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cli.main", *map(str, words)],
            env=self.env | more,
            capture_output=True,
            text=True,
            timeout=1000,
            check=False,
            umask=0o022,  # as of any shell
        )

    def up(self) -> subprocess.CompletedProcess[str]:
        return self.vitrine("up", "--detach", "--no-demo")

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.vitrine("status", "--json").stdout)
        return found

    def processes(self) -> dict[int, str]:
        """Every living process whose environment or arguments name the data folder."""
        mark = str(self.data).encode()
        found: dict[int, str] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                arguments = (folder / "cmdline").read_bytes()
                texts = arguments + (folder / "environ").read_bytes()
                is_dead = (folder / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
            except OSError:
                continue
            if mark in texts and not is_dead and int(folder.name) != os.getpid():
                found[int(folder.name)] = arguments.replace(b"\0", b" ").decode()
        return found
