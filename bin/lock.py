"""Write the lock files with hashes: ``python bin/lock.py`` keeps every pin that still fits.

``python bin/lock.py --upgrade`` takes the newest of everything, ``--upgrade-package NAME`` of one
package. One resolution, that of dev.in, gives the versions; worker.lock and web.lock are the parts
of it that those images need, so that all three agree. pip-tools does the work, with the packages
and the platform of the Python that runs this: use the oldest that pyproject.toml allows.

torch is in no lock: which build of it is right depends on the machine (requirements/torch.txt).
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from pip._internal.models.link import Link
from piptools.repositories.pypi import PyPIRepository
from piptools.scripts.compile import cli

FOLDER = Path(__file__).parents[1] / "requirements"
# Installed with torch, and what belongs to one of its builds only.
NOT_LOCKED = ("torch", "triton", "pip", "setuptools")
BELONGS_TO_TORCH = re.compile(r"^(nvidia-(?!ml-py)|cuda-|triton)[a-z0-9-]*==", re.MULTILINE)

_download_and_hash = PyPIRepository._get_file_hash


def _hash_of(repository: PyPIRepository, link: Link) -> str:
    """Take the hash that the index gives with the link; pip-tools would download every file."""
    if link.hash_name == "sha256" and link.hash:
        return f"sha256:{link.hash}"
    return _download_and_hash(repository, link)


def compile_lock(name: str, *options: str) -> None:
    """Resolve ``name``.in into ``name``.lock; pins that the lock has already are kept."""
    print(f"{name}.lock", flush=True)
    arguments = ["--quiet", "--generate-hashes", "--strip-extras", "--no-emit-options", *options]
    for package in NOT_LOCKED:
        arguments += ["--unsafe-package", package]
    cli.main([*arguments, f"{name}.in", "--output-file", f"{name}.lock"], standalone_mode=False)
    text = Path(f"{name}.lock").read_text(encoding="utf-8")
    if found := BELONGS_TO_TORCH.search(text):
        sys.exit(f"{name}.lock has {found.group()}: make the locks where torch is its CPU build.")


def main(options: list[str]) -> None:
    """Write all three; ``options`` go to the resolution of dev.in."""
    PyPIRepository._get_file_hash = _hash_of
    os.environ["CUSTOM_COMPILE_COMMAND"] = "python bin/lock.py"
    os.chdir(FOLDER)
    compile_lock("dev", *options)
    for part in ("worker", "web"):
        shutil.copyfile("dev.lock", f"{part}.lock")
        compile_lock(part)


if __name__ == "__main__":
    main(sys.argv[1:])
