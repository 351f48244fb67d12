"""The TypeScript client under Node, against scripted answers and a real web process; it is up to date."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from shared.errors import VitrineError, all_errors
from tests import builders
from tests.showroom import Showroom, things

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "typescript"
pytestmark = pytest.mark.slow
needs_node = pytest.mark.skipif(not shutil.which("node"), reason="no node here")  # reason: runs JavaScript


def run_node(*arguments: str, **variables: str) -> str:
    ran = subprocess.run(
        ["node", *arguments],
        cwd=CLIENT,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    return ran.stdout


@needs_node
def test_the_client_works_under_node(tmp_path: Path) -> None:
    photo = base64.b64encode(builders.jpeg(seed=1, width=400, height=300)).decode()
    with Showroom(tmp_path, things(40)) as room:
        printed = run_node("--test", "test/client.test.js", VITRINE_URL=room.url, VITRINE_PHOTO=photo)
    assert "# skipped 0" in printed
    assert "# fail 0" in printed


@needs_node
def test_its_errors_are_those_of_the_server() -> None:
    code = """
        import { ERRORS, VitrineError } from "./dist/index.js";
        const parent = (kind) => Object.getPrototypeOf(kind).name;
        const row = (kind) => [kind.name, parent(kind), new kind("").retryable];
        const rows = [...ERRORS].map(([code, kind]) => [code, row(kind)]);
        console.log(JSON.stringify(Object.fromEntries(rows)));
    """
    found = json.loads(run_node("--input-type=module", "--eval", code))
    public = {kind for kind in all_errors().values() if kind.__module__ == "shared.errors"} - {VitrineError}
    errors = {code: kind for code, kind in all_errors().items() if kind in public}
    assert found == {
        code: [kind.__name__, kind.__bases__[0].__name__, kind.retryable] for code, kind in errors.items()
    }


def test_built_files_fit_their_sources(clients: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert clients.stale() == [], "run: make clients"
    # Control: another description, and another source, are noticed.
    monkeypatch.setattr(clients, "build_description", lambda: "{}")
    monkeypatch.setattr(clients, "typescript_sources", lambda: "another")
    assert clients.stale()[:2] == ["clients/typescript/types/api.d.ts", "clients/typescript/dist"]


@pytest.fixture
def clients() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bin_clients", ROOT / "bin" / "clients.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_has_no_dependency() -> None:
    package = json.loads((CLIENT / "package.json").read_text(encoding="utf-8"))
    assert "dependencies" not in package
    assert "peerDependencies" not in package
