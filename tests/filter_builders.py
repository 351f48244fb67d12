"""Random products and filters, and what a filter means by the words of docs/filters.md, written plainly."""

from __future__ import annotations

import json
import random
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from shared.filters.vocabulary import COLOURS

CATEGORIES = ["chair", "table", 'a "quoted" one', "椅子", "", "it's", "back\\slash", "50%_off"]
TAGS = ["sale", "new", "120", 'say "hi"', "') or 1=1 --", "ünïcode"]
WORDS = ["Oak", "chair", "CAFÉ", "tisch", "木製の椅子", "стул", "कुर्सी", "2er", 'x" or key != "']
NAMES = ["material", "width", "a.b", 'quo"te', "größe", "released", "in"]
VALUES: list[Any] = [
    *("oak", "pine", "OAK", "12", "007", "true", "2024-05-01", "2023-12-31", "é", "z", "", "%", "_", "\\"),
    *("line\nbreak", "x" * 200, "') or 1=1 --", '" or key != "'),
    *(12, 12.5, -3, 0, 1e20, 0.1, True, False, None),
    *(["oak", 12], [], ["pine"], {"deep": 5}, {"deep": {"er": "oak"}}),
]


@dataclass
class Made:
    """A random product."""

    product_id: str
    titles: dict[str, str]
    category: str
    price: Decimal | None
    currency: str | None
    tags: list[str]
    attributes: dict[str, Any]
    colours: list[str] = field(default_factory=list)


def random_product(chance: random.Random, number: int) -> Made:
    languages = chance.sample(["en", "de", "ja", "ru"], chance.randint(0, 3))
    return Made(
        product_id=f"p-{number}",
        titles={code: " ".join(chance.sample(WORDS, chance.randint(1, 3))) for code in languages},
        category=chance.choice(CATEGORIES),
        price=chance.choice([None, Decimal("0"), Decimal("9.99"), Decimal("10"), Decimal("120.5")]),
        currency=chance.choice([None, "EUR", "USD"]),
        tags=chance.sample(TAGS, chance.randint(0, 3)),
        attributes={name: chance.choice(VALUES) for name in chance.sample(NAMES, chance.randint(0, 5))},
        colours=chance.sample(COLOURS, chance.randint(0, 2)),
    )


#: What a part of a filter says, and what must hold of a product.
Part = tuple[str, Callable[[Made], bool]]


def random_filter(chance: random.Random, depth: int = 3) -> Part:
    """Return a filter's text, and a function from product to whether it passes."""
    shape = chance.choice(["leaf", "leaf", "not", "and", "or"]) if depth else "leaf"
    if shape == "leaf":
        return _leaf(chance)
    if shape == "not":
        text, holds = random_filter(chance, depth - 1)
        return f"not ({text})", lambda made: not holds(made)
    (one, first), (two, second) = random_filter(chance, depth - 1), random_filter(chance, depth - 1)
    if shape == "and":
        return f"({one}) and ({two})", lambda made: first(made) and second(made)
    return f"({one}) or ({two})", lambda made: first(made) or second(made)


def _leaf(chance: random.Random) -> Part:
    which = chance.choice(
        ["category", "price", "tags", "currency", "colour", "title", "product_id"] + ["attributes"] * 6
    )
    if which == "title":
        text = chance.choice([*WORDS, "oak CHAIR", "木製", "椅", "Café", "nothing"])
        return f"title contains {quoted(text)}", lambda made: all(
            any(has_word(title, word) for title in made.titles.values()) for word in _folded(text)
        )
    if which == "attributes":
        return _attribute_leaf(chance)
    pools: dict[str, Sequence[Any]] = {
        "category": CATEGORIES,
        "price": [0, 9.99, 10, 120.5, 1000],
        "tags": TAGS,
        "currency": ["EUR", "USD", "CHF"],
        "colour": COLOURS,
        "product_id": ["p-1", "p-2", "p-33", '" or key != "'],
    }
    operators = ["=", "!=", "in", "exists"] + ["order", "range"] * (which == "price")
    return _about(chance, which, chance.choice(operators), pools[which], lambda made: _of(made, which))


def _attribute_leaf(chance: random.Random) -> Part:
    path = [chance.choice(NAMES)]
    if chance.random() < 0.2:
        path += chance.choice([["deep"], ["deep", "er"]])
    field_text = ".".join(["attributes", *(quoted(n) if not n.isidentifier() else n for n in path)])
    operator = chance.choice(["=", "!=", "in", "exists", "order", "order", "range", "contains"])
    pool = [v for v in VALUES if isinstance(v, str | int | float)]

    def found(made: Made) -> Any:
        value: Any = made.attributes
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    return _about(chance, field_text, operator, pool, found)


def _about(chance: random.Random, name: str, operator: str, pool: Sequence[Any], found: Any) -> Part:
    def known(made: Made) -> bool:
        return there(found(made)) and not (name == "category" and made.category == "")

    if operator == "exists":
        return f"exists {name}", known
    if operator in ("order", "range"):
        pool = [v for v in pool if not isinstance(v, bool)]
    one = chance.choice(pool)
    several = chance.sample(list(pool), min(3, len(pool)))
    like_one = [v for v in pool if type(canonical(v)) is type(canonical(one))]
    two = chance.choice(like_one)

    def among(made: Made, values: list[Any]) -> bool:
        return same(found(made), values, as_text=name in ("category", "product_id"))

    if operator in ("=", "contains"):
        return f"{name} {operator} {quoted(one)}", lambda made: among(made, [one])
    if operator == "!=":
        return f"{name} != {quoted(one)}", lambda made: known(made) and not among(made, [one])
    if operator == "in":
        return f"{name} in [{', '.join(map(quoted, several))}]", lambda made: among(made, several)
    if operator == "range":
        return (
            f"{name} {quoted(one)}..{quoted(two)}",
            lambda made: ordered(found(made), ">=", one) and ordered(found(made), "<=", two),
        )
    sign = chance.choice(["<", "<=", ">", ">="])
    return f"{name} {sign} {quoted(one)}", lambda made: ordered(found(made), sign, one)


def quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def canonical(value: Any) -> float | str:
    """Numbers as floats, texts that are written like numbers too; true and false as texts."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return float(value) if re.fullmatch(r"-?(0|[1-9]\d{0,14})(\.\d{1,12})?", value) else value
    return str(value) if isinstance(value, int) and abs(value) >= 1e15 else float(value)


def there(value: Any) -> bool:
    if isinstance(value, dict):
        return any(there(part) for part in value.values())
    if isinstance(value, list):
        return any(part is not None for part in value)
    return value is not None


def same(value: Any, wanted: list[Any], as_text: bool) -> bool:
    values = value if isinstance(value, list) else [value]
    plain = [v for v in values if isinstance(v, str | int | float | Decimal)]
    if as_text:
        return any(v in wanted for v in plain)
    return any(canonical(v) == canonical(w) for v in plain for w in wanted)


def ordered(value: Any, sign: str, wanted: Any) -> bool:
    if value is None or isinstance(value, list | dict):
        return False
    one, other = canonical(value), canonical(wanted)
    if isinstance(one, str) and (len(one.encode()) > 150 or not one.isprintable()):
        return False
    if isinstance(one, str) != isinstance(other, str):
        return False
    return {"<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other}[sign]  # type: ignore[operator]


def _of(made: Made, which: str) -> Any:
    return made.colours if which == "colour" else getattr(made, which)


def _folded(text: str) -> list[str]:
    letters = unicodedata.normalize("NFD", text.casefold())
    bare = unicodedata.normalize("NFC", "".join(c for c in letters if not "\u0300" <= c <= "\u036f"))
    return "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in bare).split()


def has_word(title: str, word: str) -> bool:
    """Words are whole, except where a script writes none apart."""
    if re.search("[\u3040-\u30ff\u4e00-\u9fff]", word):
        return any(word in part for part in _folded(title))
    return word in _folded(title)
