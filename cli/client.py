"""Client of the commands, based on ``vitrine_client``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from shared.contracts.keys import KeyMade, KeyOut
from vitrine_client import Vitrine
from vitrine_client.answers import parse_answer, parse_answers


class VitrineClient(Vitrine):
    """A client without retries, because the user of a command can repeat it."""

    def __init__(self, base_url: str, api_key: str | None = None, timeout_s: float = 30.0) -> None:
        super().__init__(base_url, api_key, timeout_s, retries=0)

    def create_key(self, wanted: Mapping[str, Any]) -> KeyMade:
        """Create an API key from the fields of ``KeyIn``; only this answer contains it."""
        answer = self._request("POST", "/v1/keys", accepted=(201,), json=dict(wanted))
        return parse_answer(KeyMade, answer)

    def list_keys(self) -> list[KeyOut]:
        """Return all API keys without their secrets, newest first."""
        return parse_answers(KeyOut, self._request("GET", "/v1/keys"))

    def rotate_key(self, key_id: str, grace_s: float) -> KeyMade:
        """Replace an API key; the old one works for ``grace_s`` seconds more."""
        address = f"/v1/keys/{quote(key_id, safe='')}/rotate"
        return parse_answer(
            KeyMade, self._request("POST", address, accepted=(201,), json={"grace_s": grace_s})
        )

    def revoke_key(self, key_id: str) -> KeyOut:
        """Revoke an API key for good."""
        return parse_answer(KeyOut, self._request("DELETE", f"/v1/keys/{quote(key_id, safe='')}"))

    def _not_running_message(self) -> str:
        return (
            f"Vitrine is not running at {self.base_url}: start it with `vitrine up`, "
            "or set VITRINE_URL to where it runs."
        )
