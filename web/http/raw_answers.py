"""Answers to requests that no thread sees, in the bytes that go to the client."""

from __future__ import annotations

import json


def _answer(status: str, code: str, message: str) -> bytes:
    """Build an answer in the one shape of errors, for requests that no thread sees."""
    body = json.dumps({"error": {"code": code, "message": message, "field": None, "request_id": None}})
    lines = (
        f"HTTP/1.1 {status}",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Retry-After: 2",
    )
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


TOO_SLOW = _answer("408 Request Timeout", "request_timeout", "The request came too slowly.")
TOO_LONG = _answer("431 Request Header Fields Too Large", "invalid_input", "The head is too long.")
TOO_MANY = _answer("503 Service Unavailable", "unavailable", "Too many requests wait: try again shortly.")
