"""Split titles of any language into normalised words."""

from __future__ import annotations

import itertools
import re
import unicodedata

# Accents of Latin, Greek and Cyrillic letters. Vowel signs of other scripts count as letters.
_ACCENTS = re.compile("[\u0300-\u036f]")
#: Scripts without spaces between words: Thai, Lao, Myanmar, Khmer, Japanese and Chinese.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


def split_title(text: str) -> list[str]:
    """Return the distinct words of a title, without case, accents and width.

    In scripts without word separators, single characters and pairs of neighbours replace words.
    """
    found = [part for run, spaced in _runs(text) for part in ([run] if spaced else [*run, *_pairs(run)])]
    return list(dict.fromkeys(found))


def split_query(text: str) -> list[str]:
    """Return the words that a title must have to contain the text; empty if the text has no letter."""
    found = [
        part for run, spaced in _runs(text) for part in ([run] if spaced or len(run) == 1 else _pairs(run))
    ]
    return list(dict.fromkeys(found))


def _runs(text: str) -> list[tuple[str, bool]]:
    """Return runs of letters and digits, and whether their script separates words."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    folded = unicodedata.normalize("NFKC", _ACCENTS.sub("", decomposed)).casefold()
    runs = itertools.groupby(folded, key=_kind)
    return [("".join(letters), kind == "spaced") for kind, letters in runs if kind]


def _kind(letter: str) -> str:
    if unicodedata.category(letter)[0] not in "LMN":
        return ""
    return "unspaced" if _UNSPACED.match(letter) else "spaced"


def _pairs(run: str) -> list[str]:
    return [run[i : i + 2] for i in range(len(run) - 1)]
