"""API keys for the tests of the web."""

from __future__ import annotations

from typing import Any

from shared.contracts.keys import KeyIn, KeyMade
from tests.web_builders import Shop

OWNER_KEY = "an-owner-key-of-32-characters-xx"
OWNER = {"Authorization": f"Bearer {OWNER_KEY}"}
ORIGIN = "https://shop.example"
IN_PAGE = {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"}


def make_key(shop: Shop, role: str = "search", **wanted: Any) -> KeyMade:
    """Create a key past the API; a ``search`` key is for ``demo`` and one origin unless it says otherwise."""
    defaults = {"catalogues": ["demo"], "origins": [ORIGIN]} if role == "search" else {}
    made = shop.parts.keys.create(KeyIn.model_validate({"name": "test", "role": role, **defaults, **wanted}))
    shop.parts.key_ring.forget()  # as the API does, so that a preflight from a new origin is answered at once
    return made


def bearer(made: KeyMade | str) -> dict[str, str]:
    """Return the header that carries a key."""
    return {"Authorization": f"Bearer {made if isinstance(made, str) else made.key}"}
