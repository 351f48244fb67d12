"""Writes the settings table of README.md and .env.example from the code: ``python bin/settings.py``.

With ``--check`` it changes nothing, and exits with 1 where a file is out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from shared.settings import PREFIX, Settings  # noqa: E402  # the package is found by the line above

_BEGIN, _END = "<!-- settings: made by bin/settings.py -->", "<!-- end of settings -->"


class Row(NamedTuple):
    """One setting: its variable, its default as text, and what it is for."""

    variable: str
    default: str
    meaning: str


def rows() -> Iterator[Row]:
    """Yield every setting in the order of the code."""
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, BaseModel):
            for inner, inner_field in type(default).model_fields.items():
                yield _row(f"{name}__{inner}", inner_field)
        else:
            yield _row(name, field)


def _row(name: str, field: FieldInfo) -> Row:
    value = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    text = "" if value is None or value == () else str(value)
    return Row(
        PREFIX + name.upper(), text.lower() if isinstance(value, bool) else text, field.description or ""
    )


def table() -> str:
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for row in rows():
        default = f"`{row.default}`" if row.default else ""
        meaning = row.meaning.replace("|", "\\|")
        lines.append(f"| `{row.variable}` | {default} | {meaning} |")
    return "\n".join(lines)


def example() -> str:
    lines = ["# Every setting with its default. Copy to .env and take the # off what you change.", ""]
    for row in rows():
        lines += [f"# {row.meaning}", f"#{row.variable}={row.default}", ""]
    return "\n".join(lines)


def wanted() -> dict[Path, str]:
    """Return what the files should hold."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    head, rest = text.split(_BEGIN)
    tail = rest.split(_END)[1]
    return {
        readme: f"{head}{_BEGIN}\n{table()}\n{_END}{tail}",
        ROOT / ".env.example": example(),
    }


def main() -> int:
    stale = [p for p, text in wanted().items() if not p.exists() or p.read_text(encoding="utf-8") != text]
    if "--check" not in sys.argv[1:]:
        for path in stale:
            path.write_text(wanted()[path], encoding="utf-8")
        return 0
    for path in stale:
        print(f"{path.name} is out of date: python bin/settings.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
