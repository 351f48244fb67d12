"""Write docs/settings.md and .env.example from the code: ``python bin/settings.py``.

With ``--check`` it changes nothing, and exits with 1 where a file is out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from shared.settings import PREFIX, Settings  # noqa: E402  # the package is found by the line above

_HEAD = """# Settings

This page lists every setting with its default and meaning. It is for operators.
`bin/settings.py` makes it from the code.

- Settings are environment variables. `.env.example` has all of them.
- A name that ends in `_FILE` names a file that holds the value: `VITRINE_WEB__API_KEY_FILE=/run/secrets/key`.
- A misspelt name stops the start.
- A removed name is ignored, or stops the start: see [decision 22](decisions/0022-fewer-settings.md).
- Where other pages write `web.port`, the variable is `VITRINE_WEB__PORT`.
"""
# The meanings are checked in the code that they come from.
_BEGIN, _END = "<!-- prose: off -->", "<!-- prose: on -->"


class Row(NamedTuple):
    """A setting: its group, its variable, its default as text, and its meaning."""

    group: str
    variable: str
    default: str
    meaning: str


def rows() -> Iterator[Row]:
    """Yield every setting in the order of the code."""
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, BaseModel):
            for inner, inner_field in type(default).model_fields.items():
                yield _row(name, f"{name}__{inner}", inner_field)
        else:
            yield _row("", name, field)


def _row(group: str, name: str, field: FieldInfo) -> Row:
    value = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    text = "" if value is None or value == () else str(value)
    default = text.lower() if isinstance(value, bool) else text
    return Row(group, PREFIX + name.upper(), default, field.description or "")


def page() -> str:
    """Return docs/settings.md: a table for each group."""
    lines = [_HEAD, _BEGIN]
    for group, members in groupby(rows(), key=lambda row: row.group):
        lines += ["", f"## {group or 'General'}", "", "| variable | default | meaning |", "|---|---|---|"]
        for row in members:
            default = f"`{row.default}`" if row.default else ""
            meaning = row.meaning.replace("|", "\\|")
            lines.append(f"| `{row.variable}` | {default} | {meaning} |")
    return "\n".join([*lines, "", _END, ""])


def example() -> str:
    lines = ["# Every setting with its default. Copy to .env and take the # off what you change.", ""]
    for row in rows():
        lines += [f"# {row.meaning}", f"#{row.variable}={row.default}", ""]
    return "\n".join(lines)


def expected_files() -> dict[Path, str]:
    """Return the text that each file should have."""
    return {ROOT / "docs" / "settings.md": page(), ROOT / ".env.example": example()}


def main() -> int:
    files = expected_files()
    stale = [p for p, text in files.items() if not p.exists() or p.read_text(encoding="utf-8") != text]
    if "--check" not in sys.argv[1:]:
        for path in stale:
            path.write_text(files[path], encoding="utf-8")
        return 0
    for path in stale:
        print(f"{path.name} is out of date: python bin/settings.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
