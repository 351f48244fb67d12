"""bin/prose.py finds long sentences and private words, and nothing in what is no prose."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
LONG = " ".join(["word"] * 26)


@pytest.fixture(scope="module")
def prose() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prose", ROOT / "bin" / "prose.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (f"{LONG}.", [1]),
        (f"Short.\n\n{LONG}.", [3]),
        ("Short. " + "\n".join(LONG.title().split(" ")), [1]),
        (f"- short\n- {LONG}\n", [2]),
        (f"1. {LONG}", [1]),
        (f"> {LONG}", [1]),
        (" ".join(["word"] * 25) + ".", []),
        (f"{' '.join(['word'] * 20)}. Another {' '.join(['word'] * 20)}.", []),
        (f"{' '.join(['word'] * 18)}: see [a page](page.md), `one {LONG} piece` of code.", []),
        ("- item\n" * 30, []),
        (f"# {LONG}\n", []),
        (f"| {LONG} | {LONG} |\n", []),
        (f"```text\n{LONG}\n```\n", []),
        (f"<!-- {LONG} -->\n", []),
        (f"<!-- prose: off -->\n{LONG}\n<!-- prose: on -->\nShort.", []),
        (f"{LONG} <!-- prose: ignore -->", []),
    ],
)
def test_sentences(prose: ModuleType, text: str, lines: list[int]) -> None:
    assert [found.number for found in prose.long_sentences(text)] == lines


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("a.md", "Write it anew.", [1]),
        ("a.md", "Recommend amendments; the `ledger` and\n```text\nanew\n```", []),
        ("a.md", "[see](anew.md)", []),
        ("a.md", "| as long as | anew |", [1]),
        ("a.md", "Anew. <!-- prose: ignore -->", []),
        ("a.py", '"""Do it.\n\nMeanwhile wait.\n"""\nx = 1  # for so long\ny = "at the most"\n', [3, 5, 6]),
        ("a.py", "ledger = 1\nmending = 2\n", []),
        ("a.py", "x = 1  # anew  prose: ignore\n", []),
        ("a.py", "x = f'{1} anew'\n", [1]),
        ("a.html", "<p>{{ _('Nobody') }}</p>", [1]),
        ("a.po", 'msgid "Look"\n"at anew"\nmsgstr "anew"\n"nobody"\n', [2]),
    ],
)
def test_words(prose: ModuleType, name: str, text: str, lines: list[int]) -> None:
    found = prose.private_words(prose.texts(Path(name), text), prose.load_words())
    assert [line.number for line in found] == lines


def test_names_of_code_on_request(prose: ModuleType) -> None:
    lines = prose.texts(Path("a.py"), "class JobLedger: ...\nwas_told = 1\n", with_names=True)
    found = list(prose.private_words(lines, prose.load_words()))
    assert [(line.number, line.text.split(":")[0]) for line in found] == [(1, "'Ledger'"), (2, "'told'")]


def test_command(prose: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{LONG}.\n\nAnew.\n")
    (tmp_path / "image.bin").write_bytes(b"\xff anew")
    assert prose.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{page}:1: 26 words: {LONG[:70]}",
        f"{page}:3: 'Anew': use again",
    ]
    assert prose.main(["--words", str(page)]) == 1
    assert "26 words" not in capsys.readouterr().out
    page.write_text("Short.\n")
    assert prose.main([str(tmp_path)]) == 0


def test_a_wrong_line_of_the_list_is_refused(prose: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("# note\nanew -> again\n")
    with pytest.raises(ValueError, match=r"words\.txt:2"):
        prose.load_words(tmp_path / "words.txt")
