"""List long sentences and private words: ``python bin/prose.py PATH...``.

Sentences are checked in Markdown only. Code blocks, headings, tables and the targets of links are not prose;
inline code counts as one word. Words are checked in Markdown outside code, in comments and strings of Python,
in the ``msgid`` texts of .po files, and in every line of other files.

A line that contains ``prose: ignore`` is skipped, and so are lines between ``prose: off`` and ``prose: on``.
"""

from __future__ import annotations

import argparse
import io
import itertools
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

WORD_LIST = Path(__file__).parent / "private_words.txt"
SUFFIXES = {".md", ".py", ".html", ".txt", ".po", ".js", ".css", ".yml", ".yaml", ".toml", ".sh"}

_CODE = re.compile(r"(`+)(?!`).+?\1")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)\s]*\)")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')*]*\s+(?=[\"'(*\[]*[A-Z0-9`])")
_LIST_OR_QUOTE = re.compile(r"\s*(?:[-*+]|\d+\.)\s+|\s*>\s?")
_NO_PROSE = re.compile(r"\s*(?:#|\||<!--|$)")
_TEXTS = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


class Line(NamedTuple):
    number: int  # from 1
    text: str


#: Patterns that must not occur, each with the word to use.
Words = list[tuple[re.Pattern[str], str]]


def load_words(path: Path = WORD_LIST) -> Words:
    """Read the list of private words. Raises ValueError for a line that is not ``pattern => word``."""
    words: Words = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        pattern, arrow, use = line.partition(" => ")
        if arrow:
            words.append((re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE), use))
        elif line and not line.startswith("#"):
            raise ValueError(f"{path.name}:{number}: expected 'pattern => word to use'")
    return words


def checked_lines(text: str) -> Iterator[Line]:
    """Yield the lines that no marker excludes."""
    is_off = False
    for number, line in enumerate(text.splitlines(), start=1):
        marker = re.search(r"prose: (off|on|ignore)\b", line)
        is_off = marker[1] == "off" if marker and marker[1] != "ignore" else is_off
        if not is_off and not marker:
            yield Line(number, line)


def markdown_lines(text: str) -> Iterator[Line]:
    """Yield the lines outside code blocks; inline code becomes a word, a link its text."""
    is_code = False
    for number, line in checked_lines(text):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        elif not is_code:
            yield Line(number, _LINK.sub(r"\1", _CODE.sub("Code", line)))


def paragraphs(text: str) -> Iterator[list[Line]]:
    """Yield the paragraphs and list items of a Markdown text as lines without their markers."""
    block: list[Line] = []
    for line in markdown_lines(text):
        item, ends = _LIST_OR_QUOTE.match(line.text), _NO_PROSE.match(line.text)
        if block and (item or ends or line.number != block[-1].number + 1):
            yield block
            block = []
        if not ends:
            block.append(Line(line.number, line.text[item.end() if item else 0 :].strip()))
    if block:
        yield block


def long_sentences(text: str, maximum: int = 25) -> Iterator[Line]:
    """Yield a message for each sentence of a Markdown text with more than ``maximum`` words."""
    for block in paragraphs(text):
        # One line number for each character, so that a sentence knows where it begins.
        numbers = [line.number for line in block for _ in range(len(line.text) + 1)]
        joined = " ".join(line.text for line in block)
        ends = [match.end() for match in _SENTENCE_END.finditer(joined)]
        for start, end in itertools.pairwise([0, *ends, len(joined)]):
            count = sum(any(c.isalnum() for c in word) for word in joined[start:end].split())
            if count > maximum:
                yield Line(numbers[start], f"{count} words: {joined[start:end][:70]}")


def texts(path: Path, text: str, *, with_names: bool = False) -> Iterator[Line]:
    """Yield the texts of a file in which words are checked."""
    if path.suffix == ".md":
        yield from markdown_lines(text)
    elif path.suffix == ".py":
        allowed = {line.number for line in checked_lines(text)}
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            is_name = with_names and token.type == tokenize.NAME
            if token.type in _TEXTS or is_name:
                for number, part in enumerate(token.string.splitlines(), start=token.start[0]):
                    if number in allowed:
                        yield Line(number, re.sub(r"_|(?<=[a-z])(?=[A-Z])", " ", part) if is_name else part)
    elif path.suffix == ".po":
        is_source = False
        for line in checked_lines(text):
            is_source = line.text.startswith("msgid") or (is_source and line.text.startswith('"'))
            if is_source:
                yield line
    else:
        yield from checked_lines(text)


def private_words(lines: Iterable[Line], words: Words) -> Iterator[Line]:
    """Yield a message for each private word, with the word to use."""
    for number, text in lines:
        for pattern, use in words:
            yield from (Line(number, f"{match.group()!r}: use {use}") for match in pattern.finditer(text))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="List long sentences and private words; exit with 1 if any.")
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="files or folders")
    parser.add_argument("--words", action="store_true", help="check private words only")
    parser.add_argument("--names", action="store_true", help="check the names in Python code too")
    options = parser.parse_args(arguments)
    words, count = load_words(), 0
    for given in options.paths:
        for path in sorted(given.rglob("*")) if given.is_dir() else [given]:
            if path == given or (path.suffix in SUFFIXES and "node_modules" not in path.parts):
                text = path.read_text(encoding="utf-8")
                found = [*private_words(texts(path, text, with_names=options.names), words)]
                found += long_sentences(text) if path.suffix == ".md" and not options.words else []
                count += len(found)
                print("".join(f"{path}:{number}: {message}\n" for number, message in sorted(found)), end="")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
