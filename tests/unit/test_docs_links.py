"""Links of the documentation lead to files and headings that exist; so do references in code.

The patterns read this repository's own files, never input; their time is of no concern.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
CODE = [
    path
    for folder in ("web", "worker", "shared", "cli", "clients", "bench", "bin", "docker")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".html", ".yml", ".sh", ".js"} and "node_modules" not in path.parts
]


def prose(page: Path) -> str:
    return re.sub(r"^\s*```.*?^\s*```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings as code hosts make them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(plain.strip().replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {target}; there are {sorted(anchors(file))}"


def test_a_missing_heading_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("# One, two: `three`\n\n```text\n# no heading\n```\n")
    assert anchors(tmp_path / "page.md") == {"one-two-three"}


def test_every_page_is_in_the_readme_or_the_list_of_decisions() -> None:
    listed = (ROOT / "README.md").read_text("utf-8") + (ROOT / "docs/decisions/README.md").read_text("utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        assert page.name in listed, page


def test_pages_that_code_refers_to_exist() -> None:
    for path in CODE:
        for page, anchor in re.findall(r"docs/([\w/-]+\.md)(?:#([\w-]+))?", path.read_text("utf-8")):
            assert (ROOT / "docs" / page).exists(), f"{path}: docs/{page}"
            assert not anchor or anchor in anchors(ROOT / "docs" / page), f"{path}: docs/{page}#{anchor}"


def test_the_walks_of_the_architecture_page_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    steps = re.findall(r"^\| \d+ \| `([^`]+)` \| ([^|]+) \|", page, re.MULTILINE)
    assert len(steps) > 40
    for path, functions in steps:
        source = (ROOT / path).read_text("utf-8")
        for name in re.findall(r"`([^`]+)`", functions):
            assert re.search(rf"^\s*(?:def|class) {name}\b", source, re.MULTILINE), f"{path}: {name}"
    for path in re.findall(r"`((?:web|worker|shared|cli)/[\w/]+(?:\.py|/))`", page):
        assert (ROOT / path).exists(), path
