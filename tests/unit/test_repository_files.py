"""Files for public hosting call commands that exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_workflow_runs_what_developers_run() -> None:
    steps = load(".github/workflows/ci.yml")["jobs"]["check"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100


def test_hooks_are_the_linters_of_make_lint() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    linters = re.findall(r"\$\(BIN\)/(?:python )?([\w./-]+)", makefile.split("lint:")[1].split(".PHONY")[0])
    hooks = [hook["entry"] for hook in load(".pre-commit-config.yaml")["repos"][0]["hooks"]]
    for linter in linters:
        assert any(linter in hook for hook in hooks), linter
    for script in re.findall(r"bin/\w+\.py", " ".join(hooks)):
        assert (ROOT / script).exists(), script


@pytest.mark.parametrize("name", ["bug", "feature"])
def test_issue_forms_ask_for_something(name: str) -> None:
    form = load(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert {"name", "description", "body"} <= form.keys()
    identifiers = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert len(identifiers) == len(set(identifiers)) > 1


def test_the_version_is_one() -> None:
    from web import __version__

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert project["version"] == __version__
    assert re.findall(r"^## \[(\d.*?)\]", changelog, re.MULTILINE)[0] == __version__
    assert set(re.findall(r"image: vitrine-[\w-]+:(\S+)", compose)) == {__version__}
