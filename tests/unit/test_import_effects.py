"""An import changes nothing of the process: what must be set is set by a call."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent

_SCRIPT = """
import os, sys
before = dict(os.environ)
from worker.vision.runtimes import openvino_runtime
from worker.training import starts
assert os.environ == before, "an import changed the environment"
assert "openvino" not in sys.modules and "openvino_telemetry" not in sys.modules
openvino_runtime.load_openvino()
assert sys.modules["openvino_telemetry"] is None
assert os.environ["ONEDNN_MAX_CPU_ISA"] == "AVX512_CORE_VNNI"
"""


def test_openvino_is_configured_by_a_call_and_not_by_an_import() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "ONEDNN_MAX_CPU_ISA"}
    argv = [sys.executable, "-c", _SCRIPT]
    found = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
