"""The example of docs/client.md, run as it stands by a Python that sees the client alone."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import builders
from tests.stack import Stack

pytestmark = pytest.mark.services
ROOT = Path(__file__).parents[2]


def test_the_example_runs(stack: Stack, tmp_path: Path) -> None:
    page = (ROOT / "docs/client.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    folder = tmp_path / "shop"
    folder.mkdir()
    for seed, name in enumerate(("photo.jpg", "front.jpg", "side.jpg")):
        (folder / name).write_bytes(builders.jpeg(seed=max(seed, 1), width=320, height=240))
    stack.start()
    ran = subprocess.run(
        [sys.executable, "-c", example],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "VITRINE_URL": stack.url},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    assert "chair-1 Oak chair 129" in ran.stdout
    assert "unknown_product There is no product" in ran.stdout
    assert "succeeded 1 of 1" in ran.stdout
