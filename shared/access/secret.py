"""Create and parse API keys: ``vt_PREFIX_SECRET``."""

from __future__ import annotations

import hashlib
import re
import secrets
import string

#: Lower-case letters and digits without those that are easily confused.
_PREFIX_CHARACTERS = "abcdefghjkmnpqrstuvwxyz23456789"
_PREFIX_LENGTH = 8
_SECRET_CHARACTERS = string.ascii_letters + string.digits
#: 40 of 62 characters have 238 bits, so a fast hash protects the secret as well as a slow one.
_SECRET_LENGTH = 40
_FORMAT = re.compile(r"vt_([a-z0-9]{8})_[A-Za-z0-9_-]{32,128}")


def create_secret() -> tuple[str, str]:
    """Return a new prefix and the whole key that contains it."""
    prefix = _pick(_PREFIX_CHARACTERS, _PREFIX_LENGTH)
    return prefix, f"vt_{prefix}_{_pick(_SECRET_CHARACTERS, _SECRET_LENGTH)}"


def parse_prefix(offered: str) -> str | None:
    """Return the prefix of a well-formed key, else None."""
    found = _FORMAT.fullmatch(offered)
    return found[1] if found else None


def digest_of(key: str) -> str:
    """Return the digest of a key as it is stored."""
    return hashlib.sha256(key.encode()).hexdigest()


def _pick(characters: str, count: int) -> str:
    return "".join(secrets.choice(characters) for _ in range(count))
