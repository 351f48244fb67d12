"""The Python client as a shop installs it: alone, without a network, and with one top-level package."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "python"
USE = """
import sys
before = set(sys.modules)
from vitrine_client import SearchOptions, Unavailable, Vitrine
try:
    Vitrine("http://127.0.0.1:9", retries=0).search(b"a photo", SearchOptions(top_k=3), deadline_s=1)
except Unavailable as error:
    print(error.code)
top_level = {name.split(".")[0] for name in sys.modules}
print(sorted(top_level & {"shared", "web", "worker", "cli", "lark", "numpy"}))
"""


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_client", CLIENT / "build_client.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_client(folder: Path) -> str:
    """Use the client in ``folder`` from a process that knows its dependencies, not this repository."""
    dependencies = [path for path in sys.path if path.endswith("site-packages")]
    code = f"import sys; sys.path[:0] = {[str(folder), *dependencies]!r}\n{USE}"
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_wheel_works_alone_and_adds_one_package(builder: ModuleType, tmp_path: Path) -> None:
    wheel = tmp_path / builder.build_wheel(str(tmp_path))
    installed = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    assert sorted(path.name for path in installed.iterdir()) == [
        "vitrine_client",
        "vitrine_client-0.2.0.dist-info",
    ]
    assert run_client(installed) == "unavailable\n[]\n"
    # Control: without the shared modules it does not work, so nothing of this repository was used.
    (installed / "vitrine_client" / "_shared" / "errors.py").unlink()
    with pytest.raises(AssertionError, match=r"No module named 'vitrine_client\._shared\.errors'"):
        run_client(installed)


@pytest.mark.slow
def test_pip_installs_the_folder_without_a_network(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    ran = subprocess.run(
        [*command, "--disable-pip-version-check", "--target", str(tmp_path / "site"), str(CLIENT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert run_client(tmp_path / "site") == "unavailable\n[]\n"


def test_the_source_distribution_builds_the_same_wheel(builder: ModuleType, tmp_path: Path) -> None:
    wheel = (tmp_path / builder.build_wheel(str(tmp_path))).read_bytes()
    with tarfile.open(tmp_path / builder.build_sdist(str(tmp_path))) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / "vitrine_client-0.2.0"
    command = "import build_client; print(build_client.build_wheel('.'))"
    subprocess.run([sys.executable, "-c", command], cwd=unpacked, check=True, capture_output=True)
    assert (unpacked / "vitrine_client-0.2.0-py3-none-any.whl").read_bytes() == wheel


def test_the_client_needs_few_packages() -> None:
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    server = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [each.partition(">=")[0] for each in project["dependencies"]] == ["httpx", "idna", "pydantic"]
    assert (project["version"], project["license"]) == (server["version"], server["license"])


def test_the_server_refuses_to_be_installed_into_other_environments() -> None:
    ran = subprocess.run(
        [sys.executable, "setup.py", "egg_info"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode != 0
    assert "pip install ./clients/python" in ran.stderr
