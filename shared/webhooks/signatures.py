"""Signs what a webhook is sent, so that its receiver knows who sent it, and when."""

from __future__ import annotations

import hashlib
import hmac

HEADER = "Vitrine-Signature"


def signature(secret: str, at_s: int, body: bytes) -> str:
    """Return the header's value: ``t=<seconds since 1970>,v1=<HMAC-SHA-256 of "t.body", hexadecimal>``."""
    signed = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256)
    return f"t={at_s},v1={signed.hexdigest()}"
