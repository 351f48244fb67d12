"""Client of the commands, based on ``vitrine_client``."""

from __future__ import annotations

from vitrine_client import Vitrine


class VitrineClient(Vitrine):
    """A client without retries, because the user of a command can repeat it."""

    def __init__(self, base_url: str, api_key: str | None = None, timeout_s: float = 30.0) -> None:
        super().__init__(base_url, api_key, timeout_s, retries=0)

    def _not_running_message(self) -> str:
        return (
            f"Vitrine is not running at {self.base_url}: start it with `vitrine up`, "
            "or set VITRINE_URL to where it runs."
        )
