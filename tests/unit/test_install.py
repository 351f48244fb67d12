"""bin/install.py shows one line for each step, and pip's output if pip fails."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIP = """
import sys, time
print(sys.argv[1:])
for number in range(100):
    print(f"Collecting package-{number}==1")
    print("  Downloading https://index.example/package")
%s
"""


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    path = tmp_path / "some.lock"
    path.write_text("# note\n" + "".join(f"package-{n}==1 \\\n    --hash=sha256:0\n" for n in range(100)))
    return path


def start(
    folder: Path, requirements: Path, ending: str, stdout: int = subprocess.PIPE
) -> subprocess.Popen[str]:
    """Start an installation whose pip runs ``ending`` last."""
    (folder / "pip").mkdir()
    (folder / "pip" / "__init__.py").write_text("")
    (folder / "pip" / "__main__.py").write_text(PIP % ending)
    return subprocess.Popen(
        [sys.executable, str(ROOT / "bin" / "install.py"), "some.lock", "--requirement", str(requirements)],
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_success_is_one_line(tmp_path: Path, requirements: Path) -> None:
    installing = start(tmp_path, requirements, "print('Successfully installed')")
    out, err = installing.communicate(timeout=60)
    assert (installing.returncode, err) == (0, "")
    assert out.splitlines() == [out.strip()]
    assert out.startswith("== installing some.lock: 100 packages after ")


def test_failure_shows_the_output_of_pip(tmp_path: Path, requirements: Path) -> None:
    installing = start(tmp_path, requirements, "sys.exit('ERROR: no such package')")
    out, err = installing.communicate(timeout=60)
    assert installing.returncode == 1
    assert out.startswith("== installing some.lock: failed after ")
    assert "Collecting package-99==1" in err
    assert "ERROR: no such package" in err
    assert "'--no-input', 'install', '--requirement'" in err


def test_pip_does_not_outlive_the_command(tmp_path: Path, requirements: Path) -> None:
    mark = tmp_path / "mark"
    installing = start(tmp_path, requirements, f"open({str(mark)!r}, 'w').close(); time.sleep(300)")
    until = time.monotonic() + 60
    while not mark.exists() and time.monotonic() < until:
        time.sleep(0.05)
    installing.terminate()
    out, _ = installing.communicate(timeout=60)
    assert installing.returncode == 130
    assert "stopped" in out


def test_on_a_terminal_the_line_is_redrawn(tmp_path: Path, requirements: Path) -> None:
    reader, terminal = pty.openpty()
    ending = "time.sleep(0.2); print('Installing collected packages: x')"
    installing = start(tmp_path, requirements, ending, stdout=terminal)
    installing.communicate(timeout=60)
    os.close(terminal)
    shown = os.read(reader, 100_000).decode()
    os.close(reader)
    assert "\r== installing some.lock: 100 of 100 packages, unpacking" in shown
    assert shown.count("\n") == 1
