"""Translate pymilvus errors by their code, or by their text where the code is ambiguous."""

from __future__ import annotations

import grpc
from pymilvus.exceptions import MilvusException, ParamError

from shared.errors import Conflict, IndexUnavailable, InvalidInput, Misconfigured, NotFound, VitrineError

NOT_LOADED = 101
# Collection (100, in older versions 4) and alias (1600).
_NOT_FOUND = {4, 100, 1600}
# Lite uses 6, servers 1100 to 1102.
_INVALID = {6, 1100, 1101, 1102}
_EXISTS = {1601, 1602}
_DENIED = {1400, 1401, 1402}
_INVALID_TEXTS = ("cannot parse expression",)
_EXISTS_TEXTS = ("already exist",)
_DENIED_TEXTS = ("auth check failure", "permission deny", "unauthenticated")
_DENIED_STATES = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}


def translate_error(error: MilvusException | grpc.RpcError) -> VitrineError:
    """Return our error for the client's; to be raised ``from`` the original.

    Unknown errors become IndexUnavailable, which callers retry: Milvus 2.3 uses code 65535 for nearly
    everything, and a row must not be given up for an unknown reason.
    """
    if isinstance(error, grpc.RpcError):
        state = error.code() if isinstance(error, grpc.Call) else None
        if state in _DENIED_STATES:
            return Misconfigured("Milvus refuses the credentials: check the token.")
        return IndexUnavailable(f"Milvus does not answer ({state.name if state else 'no state'}).")
    text = " ".join(str(error.message).split())[:300]
    lower = text.lower()
    if error.code in _DENIED or any(part in lower for part in _DENIED_TEXTS):
        return Misconfigured(f"Milvus refuses the credentials: check the token ({text}).")
    if error.code in _NOT_FOUND:
        return NotFound(f"Milvus has no such collection or alias: {text}")
    if error.code in _EXISTS or any(part in lower for part in _EXISTS_TEXTS):
        return Conflict(f"The name already exists in Milvus: {text}")
    is_invalid = error.code in _INVALID or error.is_input_error or isinstance(error, ParamError)
    if is_invalid or any(part in lower for part in _INVALID_TEXTS):
        return InvalidInput(f"Milvus rejects the request: {text}")
    return IndexUnavailable(f"Milvus failed: {text}")
