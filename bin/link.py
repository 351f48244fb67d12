"""Add Vitrine and its command to the virtual environment that runs this, without a build."""

from __future__ import annotations

import shlex
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLIENT = ROOT / "clients" / "python"


def main() -> None:
    """Put this folder and the Python client on the environment's search path, and write the command."""
    if sys.prefix == sys.base_prefix:
        sys.exit("Run this with the Python of a virtual environment.")
    Path(sysconfig.get_path("purelib"), "vitrine.pth").write_text(f"{ROOT}\n{CLIENT}\n", encoding="utf-8")
    command = Path(sysconfig.get_path("scripts"), "vitrine")
    python = shlex.quote(str(Path(sysconfig.get_path("scripts"), "python")))
    command.write_text(f'#!/bin/sh\nexec {python} -m cli.main "$@"\n', encoding="utf-8")
    command.chmod(0o755)


if __name__ == "__main__":
    main()
