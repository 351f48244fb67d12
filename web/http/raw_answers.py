"""Raw HTTP answers that the main loop sends without a request thread."""

from __future__ import annotations

import json


def _answer(status: str, code: str, message: str) -> bytes:
    """Build an error answer in the API's error shape."""
    body = json.dumps({"error": {"code": code, "message": message, "field": None, "request_id": None}})
    lines = (
        f"HTTP/1.1 {status}",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Retry-After: 2",
    )
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


TOO_SLOW = _answer(
    "408 Request Timeout",
    "request_timeout",
    "The request arrived too slowly. Send it again over a faster connection.",
)
TOO_LONG = _answer("431 Request Header Fields Too Large", "invalid_input", "The request head is too long.")
TOO_MANY = _answer(
    "503 Service Unavailable", "unavailable", "Too many requests are waiting. Try again shortly."
)
