"""The commands that the documentation shows, as a reader would type them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
_FENCE = "```"


@dataclass(frozen=True)
class Command:
    """A command of a page.

    Attributes:
        line: where it stands, from 1.
        text: without the prompt; lines that end in a backslash, and here-documents, go on.
    """

    line: int
    text: str


def pages() -> list[Path]:
    """Return the README and every page of ``docs/``."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path) -> Iterator[tuple[int, str]]:
    """Yield line and language of the blocks of a page; the language is empty where none is named."""
    inside = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith(_FENCE):
            inside = not inside
            if inside:
                yield number, line.removeprefix(_FENCE)


def commands(page: Path) -> list[Command]:
    """Return the commands of a page's ``console`` blocks: what follows the prompt ``$``.

    Other lines of a block are what the command printed, unless they continue it.
    """
    found: list[Command] = []
    inside = False
    goes_on: str | None = None
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith(_FENCE):
            inside, goes_on = line == f"{_FENCE}console", None
        elif inside and goes_on is not None:
            found[-1] = Command(found[-1].line, f"{found[-1].text}\n{line}")
            goes_on = _continuation(line, goes_on)
        elif inside and line.startswith("$ "):
            found.append(Command(number, line[2:]))
            goes_on = _continuation(line, None)
    return found


def _continuation(line: str, until: str | None) -> str | None:
    """What ends the command: the next line without a backslash (empty), or a here-document's last word."""
    if until:
        return None if line == until else until
    if "<<" in line:
        return line.partition("<<")[2].split()[0].strip("'\"-")
    return "" if line.endswith("\\") else None


def pages_with_commands() -> list[Path]:
    """Return the pages that show commands to be run against a running Vitrine."""
    return [page for page in pages() if commands(page)]
