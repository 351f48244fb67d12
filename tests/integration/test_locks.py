"""The lock files: complete, agreeing, hashed, and enough for the web image with no torch in sight."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "requirements"
NAMES = ("web", "worker", "dev")
PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;]+)( ; [^\\]+)? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")
# What the web image must never hold, and what comes with a build of torch.
MODELS = {
    "torch",
    "torchvision",
    "ultralytics-opencv-headless",
    "openvino",
    "pymilvus",
    "milvus",
    "nncf",
    "pyarrow",
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(name: str) -> dict[str, str]:
    """Versions by normalised name."""
    lines = (FOLDER / f"{name}.lock").read_text(encoding="utf-8").splitlines()
    return {normal(m[1]): m[2] for line in lines if (m := PIN.match(line))}


def wanted(name: str) -> set[str]:
    """Normalised names that ``name``.in asks for, those of the files it includes too."""
    found: set[str] = set()
    for line in (FOLDER / f"{name}.in").read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            found |= wanted(line.removeprefix("-r ").strip().removesuffix(".in"))
        elif m := re.match(r"[A-Za-z0-9][\w.-]*", line):
            found.add(normal(m[0]))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_requirement_is_pinned_and_hashed(name: str) -> None:
    """Nothing but pins, hashes and comments: no index, no path, no option."""
    hashes = 1
    for line in (FOLDER / f"{name}.lock").read_text(encoding="utf-8").splitlines():
        if PIN.match(line):
            assert hashes, f"nothing is hashed before {line}"
            hashes = 0
        elif HASH.match(line):
            hashes += 1
        else:
            assert re.match(r" *#|$", line), line
            assert "/" not in line.replace("bin/lock.py", ""), line
    assert hashes


@pytest.mark.parametrize("name", NAMES)
def test_the_lock_holds_all_that_is_asked_for(name: str) -> None:
    assert wanted(name) <= set(pins(name))


def test_the_larger_locks_hold_the_smaller_ones() -> None:
    web, worker, dev = map(pins, NAMES)
    assert web.items() <= worker.items()
    assert worker.items() <= dev.items()
    assert len(web) < len(worker) < len(dev)


def test_no_lock_holds_torch_and_the_web_none_of_the_models() -> None:
    for name in NAMES:
        locked = pins(name)
        assert "torch" not in locked
        assert not [p for p in locked if re.match(r"triton|cuda-|nvidia-(?!ml-py)", p)]
    assert not MODELS & set(pins("web"))
    assert set(pins("worker")) >= MODELS - {"torch"}
    assert re.fullmatch(r"torch==\d+\.\d+\.\d+\n", (FOLDER / "torch.txt").read_text())


def test_what_runs_here_is_what_is_locked() -> None:
    """These tests speak for the versions in the locks."""
    here: dict[str, str] = {}
    for found in importlib.metadata.distributions():
        # The first counts, as for an import: setuptools adds its own copies of some at the path's end.
        here.setdefault(normal(found.metadata["Name"]), found.version)
    # Build tools that a fresh environment need not have.
    locked = {name: version for name, version in pins("dev").items() if name != "wheel"}
    assert {name: (here.get(name), v) for name, v in locked.items() if here.get(name) != v} == {}
    torch = (FOLDER / "torch.txt").read_text().strip().removeprefix("torch==")
    assert here["torch"].split("+")[0] == torch


LOAD_WEB = """
import importlib.util, sys
import web.app, shared.images, shared.storage.image_store
import shared.imports.manifest, shared.database.migrate
import shared.imports.opening
import pillow_heif, psycopg, s3fs
for name in ("torch", "ultralytics", "openvino", "pymilvus", "cv2", "pyarrow"):
    assert importlib.util.find_spec(name) is None, name
print(sys.prefix)
"""


@pytest.mark.timeout(900)  # seventy downloads, perhaps beside other work
def test_the_web_lock_is_enough_for_the_web(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=True)
    python = tmp_path / "bare" / "bin" / "python"
    options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-compile"]
    lock = ["-r", str(FOLDER / "web.lock")]
    subprocess.run([python, "-m", "pip", "install", *options, *lock], check=True)
    subprocess.run([python, "-m", "pip", "check"], check=True)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ran = subprocess.run(
        [python, "-c", LOAD_WEB], cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == str(tmp_path / "bare")
    assert sys.prefix != str(tmp_path / "bare")
