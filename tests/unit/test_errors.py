"""The error tree: as drawn, with codes that are names, and whole after a trip through a message."""

from __future__ import annotations

import pickle
import re

import pytest

import shared.errors
from shared.errors import all_errors

DRAWN = re.findall(r"^[│ ├└─]+(\w+) +(\w+) +(\d{3})( +yes)?$", shared.errors.__doc__ or "", re.MULTILINE)


def test_the_picture_shows_every_error_of_the_module() -> None:
    drawn = {code: name for name, code, _, _ in DRAWN}
    ours = {c: k.__name__ for c, k in all_errors().items() if k.__module__ == "shared.errors"}
    assert drawn == {code: name for code, name in ours.items() if code != "internal"}


@pytest.mark.parametrize(("name", "code", "retryable"), [(n, c, bool(r)) for n, c, _, r in DRAWN])
def test_an_error_survives_a_message_as_itself(name: str, code: str, retryable: bool) -> None:
    kind = getattr(shared.errors, name)
    again = pickle.loads(pickle.dumps(kind("Too large: make it smaller.", "image")))
    assert type(again) is kind
    assert (again.code, again.message, again.field, str(again)) == (
        code,
        "Too large: make it smaller.",
        "image",
        "Too large: make it smaller.",
    )
    assert again.retryable is retryable
