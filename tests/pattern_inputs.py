"""Regular expressions of the code, and inputs that are bad for each of them."""

from __future__ import annotations

import ast
import importlib
import itertools
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from re import _constants as codes
from re import _parser
from typing import Any

ROOT = Path(__file__).parents[1]
PACKAGES = ("web", "shared", "worker", "cli", "clients", "training", "bin")
#: Names of our own models and their layers, a template of the Milvus wheel, this repository's own texts and
#: word list: never what a caller sends.
NOT_FOR_INPUT = (
    "bin/prose.py",
    "worker/vision/runtimes/quantise.py",
    "worker/training/ship.py",
    "worker/training/embedder_job.py",
    "cli/services/milvus_config.py",
)
_FUNCTIONS = ("compile", "match", "fullmatch", "search", "findall", "finditer", "sub", "subn", "split")
_AT_ONE_PLACE = {"match", "fullmatch"}
_REPRESENTATIVES = 5
#: Two short texts: an exponential pattern takes 2^8 times as long for the second, milliseconds in all.
_EXPONENTIAL_LENGTHS = (12, 20)
#: A measurement of this length is repeated no more: the clock's resolution is a small part of it.
_LONG_S = 0.05
_CLASSES = {
    codes.CATEGORY_DIGIT: "0",
    codes.CATEGORY_NOT_DIGIT: "x",
    codes.CATEGORY_SPACE: " ",
    codes.CATEGORY_NOT_SPACE: "x",
    codes.CATEGORY_WORD: "w",
    codes.CATEGORY_NOT_WORD: "-",
}


@dataclass(frozen=True)
class Used:
    """A pattern, where it is written, and whether it is only ever tried at one place of a text."""

    where: str
    pattern: re.Pattern[Any]
    at_one_place: bool

    def run(self, text: Any) -> None:
        """Do what the code does with it, or the most expensive of what it may do."""
        if self.at_one_place:
            self.pattern.match(text)
            self.pattern.fullmatch(text)
        else:
            for _ in self.pattern.finditer(text):
                pass


def patterns() -> Iterator[Used]:
    """Yield every pattern that the code gives to ``re``."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if str(path.relative_to(ROOT)) not in NOT_FOR_INPUT:
                yield from _patterns_of(path)


def _patterns_of(path: Path) -> Iterator[Used]:
    text = path.read_text(encoding="utf-8")
    # Each process of pytest reads all files when it collects; most have no pattern.
    if "re." not in text:
        return
    tree = ast.parse(text)
    if not any(isinstance(node, ast.Import) and node.names[0].name == "re" for node in tree.body):
        return
    named = {
        id(node.value): ast.unparse(target)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    }
    for call in ast.walk(tree):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
            continue
        if not (isinstance(call.func.value, ast.Name) and call.func.value.id == "re"):
            continue
        if call.func.attr not in _FUNCTIONS:
            continue
        where = f"{path.relative_to(ROOT)}:{call.lineno}"
        methods = {call.func.attr}
        if call.func.attr == "compile":
            methods = _methods_on(tree, named.get(id(call), "?"))
        flags = call.args[1] if call.func.attr == "compile" and len(call.args) > 1 else None
        pattern = _value(path, call.args[0], where)
        compiled = re.compile(pattern, _value(path, flags, where) if flags is not None else 0)
        yield Used(where, compiled, bool(methods) and methods <= _AT_ONE_PLACE)


def _methods_on(tree: ast.Module, name: str) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name
    }


def _value(path: Path, expression: ast.expr, where: str) -> Any:
    if isinstance(expression, ast.Constant):
        return expression.value
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    try:
        return eval(ast.unparse(expression), dict(vars(module)))
    except NameError as error:
        raise AssertionError(f"{where}: write the pattern so that this test can read it ({error})") from error


def bad_texts(pattern: re.Pattern[Any], length: int) -> Iterator[Any]:
    """Yield texts of about ``length`` characters: runs of what the pattern repeats, begun and ended oddly."""
    letters = _letters(pattern)
    runs = [one * length for one in letters]
    runs += [(one + two) * (length // 2) for one, two in itertools.permutations(letters, 2)]
    for run in runs:
        for begin in ("", *letters):
            for end in ("", "\0"):
                text = begin + run + end
                yield text.encode("latin-1", "replace") if isinstance(pattern.pattern, bytes) else text


def _letters(pattern: re.Pattern[Any]) -> list[str]:
    found: dict[str, None] = {}
    source = pattern.pattern.decode("latin-1") if isinstance(pattern.pattern, bytes) else pattern.pattern
    for letter in _walk(_parser.parse(source, pattern.flags & ~re.UNICODE & ~re.DEBUG)):
        found[letter] = None
    return list(found)[:_REPRESENTATIVES] or ["a"]


def _walk(tree: Any) -> Iterator[str]:
    for operation, argument in tree:
        if operation is codes.LITERAL:
            yield chr(argument)
        elif operation is codes.NOT_LITERAL:
            yield "a" if argument != ord("a") else "b"
        elif operation is codes.ANY:
            yield "a"
        elif operation is codes.IN:
            yield from _of_set(argument)
        else:
            yield from _inside(argument)


def _of_set(members: Any) -> Iterator[str]:
    negated = members[0][0] is codes.NEGATE
    literals = {chr(argument) for operation, argument in members if operation is codes.LITERAL}
    if negated:
        yield next(letter for letter in "ab-0 " if letter not in literals)
        return
    for operation, argument in members:
        if operation is codes.LITERAL:
            yield chr(argument)
        elif operation is codes.RANGE:
            yield chr(argument[0])
        elif operation is codes.CATEGORY:
            yield _CLASSES[argument]


def _inside(argument: Any) -> Iterator[str]:
    if isinstance(argument, _parser.SubPattern):
        yield from _walk(argument)
    elif isinstance(argument, list | tuple):
        for inner in argument:
            yield from _inside(inner)


def growth(used: Used, enough: float, short: int = 2_000, times: int = 4) -> tuple[float, Any]:
    """Return by how much longer the worst text takes when it is ``times`` as long, and that text.

    About ``times`` for a linear pattern, its square for a quadratic one. Processor time of this thread, the
    best of three, so that a busy machine changes little. The first text that grows by more
    than ``enough`` will do; one measurement suffices where it is long.
    """
    worst: tuple[float, Any] = (0.0, None)
    few, more = (bad_texts(used.pattern, length) for length in _EXPONENTIAL_LENGTHS)
    for small, large in zip(few, more, strict=True):
        if (
            _seconds(used, large, tries=1) > 0.002
            and (ratio := _seconds(used, large) / _seconds(used, small)) > 16
        ):
            return ratio, large[:40]  # exponential: longer texts would never end
    pairs = zip(bad_texts(used.pattern, short), bad_texts(used.pattern, short * times), strict=True)
    for small, large in pairs:
        # A linear pattern takes a tenth of this for so few characters.
        if _seconds(used, small, tries=1) < 0.001:
            continue
        ratio = _seconds(used, large) / _seconds(used, small)
        worst = max(worst, (ratio, small[:40]), key=lambda each: each[0])
        if ratio > enough:
            break
    return worst


def _seconds(used: Used, text: Any, tries: int = 3) -> float:
    best = float("inf")
    for _ in range(tries):
        began = time.thread_time()
        used.run(text)
        best = min(best, time.thread_time() - began)
        if best > _LONG_S:
            break
    return max(best, 1e-7)
