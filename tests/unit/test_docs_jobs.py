"""What docs/jobs.md gives to the receivers of webhooks does what it says."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.webhooks.signatures import signature

PAGE = Path(__file__).parent.parent.parent / "docs" / "jobs.md"
SECRET, BODY = "whsec_test", b'{"id": "1", "event": "job.failed"}'


@pytest.fixture(scope="module")
def is_from_vitrine() -> Callable[..., bool]:
    (snippet,) = re.findall(
        r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    names: dict[str, Any] = {}
    exec(snippet, names)
    found: Callable[..., bool] = names["is_from_vitrine"]
    return found


def test_what_we_sign_is_believed(is_from_vitrine: Callable[..., bool]) -> None:
    assert is_from_vitrine(SECRET, signature(SECRET, int(time.time()), BODY), BODY)


@pytest.mark.parametrize(
    ("secret", "at_s", "body"),
    [("another", 0, BODY), (SECRET, 0, BODY + b" "), (SECRET, -3600, BODY)],
    ids=["secret", "body", "replayed"],
)
def test_what_was_forged_or_is_old_is_not(
    is_from_vitrine: Callable[..., bool], secret: str, at_s: int, body: bytes
) -> None:
    header = signature(SECRET, int(time.time()) + at_s, BODY)
    assert not is_from_vitrine(secret, header, body)


def test_a_time_that_was_changed_is_not_believed(is_from_vitrine: Callable[..., bool]) -> None:
    old = signature(SECRET, int(time.time()) - 3600, BODY)
    assert not is_from_vitrine(SECRET, f"t={int(time.time())}," + old.partition(",")[2], BODY)
