"""The tests that SECURITY.md names for its promises exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
SOURCES = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
# The page is this repository's own.
NAMED = re.findall(r"`((?:tests/\w+/)?test_\w+(?:\.py)?)`", PAGE)


def exists(name: str) -> bool:
    if name.endswith(".py"):
        return name.rpartition("/")[2] in SOURCES
    return any(f"def {name}(" in source for source in SOURCES.values())


def test_every_test_that_the_page_names_exists() -> None:
    assert len(NAMED) > 30
    assert [name for name in NAMED if not exists(name)] == []
    assert not exists("test_that_was_renamed"), "control"


def test_every_promise_of_closed_by_default_names_its_test() -> None:
    section = PAGE.partition("## Closed by default")[2].partition("\n## ")[0]
    promises = [line for line in section.splitlines() if line.startswith("- ")]
    assert len(promises) > 10
    assert [line for line in promises if not any(name in line for name in NAMED)] == []
