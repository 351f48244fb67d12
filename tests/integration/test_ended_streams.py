"""Event streams end with the key or the session that opened them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.key_builders import OWNER, OWNER_KEY, bearer, make_key
from tests.web_builders import Shop, open_shop
from web.api import events

_READS = 200


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(events, "_POLL_INTERVAL_S", 0.001)
    return open_shop(tmp_path, web={"api_key": OWNER_KEY})


def open_stream(shop: Shop, client: Any, **sent: Any) -> tuple[Iterator[bytes], Iterator[int]]:
    """Open the stream of a job that no worker does; return its events, and the number of reads so far."""
    product = shop.client.put(
        "/v1/catalogues/demo/products/chair-1", headers=OWNER, json={"titles": {"en": "x"}}
    )
    reads = count()
    shop.app.extensions[events.SERVING] = lambda: next(reads) < _READS
    answer = client.get(f"/v1/jobs/{(product.json or {})['id']}/events", **sent)
    assert answer.status_code == 200, answer.text
    stream = answer.iter_encoded()
    assert b"event: state" in next(stream)
    return stream, reads


@pytest.mark.parametrize("how", ["revoked", "expired", "control"])
def test_a_stream_ends_with_its_key(shop: Shop, how: str) -> None:
    made = make_key(shop, "catalogue")
    stream, reads = open_stream(shop, shop.client, headers=bearer(made))
    if how == "revoked":
        shop.parts.keys.revoke(made.id)
    elif how == "expired":
        shop.parts.keys.rotate(made.id, 0)
    shop.parts.key_ring.forget()
    assert list(stream) == []
    assert (next(reads) > _READS) == (how == "control"), "it went on"


@pytest.mark.parametrize("how", ["ended", "control"])
def test_a_stream_ends_with_its_session(shop: Shop, how: str) -> None:
    client = shop.client
    client.post("/sign-in", data={"key": OWNER_KEY}, headers={"Accept": "text/html"})
    stream, reads = open_stream(shop, client)
    if how == "ended":
        shop.client.delete("/v1/sessions", headers=OWNER)
        shop.parts.session_ring.forget()
    assert list(stream) == []
    assert (next(reads) > _READS) == (how == "control"), "it went on"
