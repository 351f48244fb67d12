"""Sign webhook requests, so that receivers can verify their sender and time."""

from __future__ import annotations

import hashlib
import hmac

HEADER = "Vitrine-Signature"


def signature(secret: str, at_s: int, body: bytes) -> str:
    """Return the header: ``t=<seconds since 1970>,v1=<HMAC-SHA-256 of "t.body", hexadecimal>``."""
    signed = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256)
    return f"t={at_s},v1={signed.hexdigest()}"
