"""What pymilvus raises, as our errors. It mostly raises its base class: the code tells, the text at worst."""

from __future__ import annotations

import grpc
from pymilvus.exceptions import MilvusException, ParamError

from shared.errors import Conflict, IndexUnavailable, InvalidInput, Misconfigured, NotFound, VitrineError

NOT_LOADED = 101
# Collection (100, 4 in older ones) and alias (1600).
_NOT_FOUND = {4, 100, 1600}
# Lite says 6; servers 1100 and its like.
_INVALID = {6, 1100, 1101, 1102}
_ALREADY = {1601, 1602}
_DENIED = {1400, 1401, 1402}
_INVALID_TEXTS = ("cannot parse expression",)
_ALREADY_TEXTS = ("already exist",)
_DENIED_TEXTS = ("auth check failure", "permission deny", "unauthenticated")
_DENIED_STATES = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}


def translated(error: MilvusException | grpc.RpcError) -> VitrineError:
    """Return our error for the client's; raise it ``from`` the original.

    What is not known counts as unavailable, which callers try again: 2.3 answers nearly everything with
    65535, and a row is not to be given up for a reason that nobody understood.
    """
    if isinstance(error, grpc.RpcError):
        state = error.code() if isinstance(error, grpc.Call) else None
        if state in _DENIED_STATES:
            return Misconfigured("Milvus refuses the credentials: check the token.")
        return IndexUnavailable(f"Milvus does not answer ({state.name if state else 'no state'}).")
    text = " ".join(str(error.message).split())[:300]
    lower = text.lower()
    if error.code in _DENIED or any(each in lower for each in _DENIED_TEXTS):
        return Misconfigured(f"Milvus refuses the credentials: check the token ({text}).")
    if error.code in _NOT_FOUND:
        return NotFound(f"Milvus has no such collection or alias: {text}")
    if error.code in _ALREADY or any(each in lower for each in _ALREADY_TEXTS):
        return Conflict(f"Milvus has that name already: {text}")
    known_invalid = error.code in _INVALID or error.is_input_error or isinstance(error, ParamError)
    if known_invalid or any(each in lower for each in _INVALID_TEXTS):
        return InvalidInput(f"Milvus does not take this: {text}")
    return IndexUnavailable(f"Milvus cannot do this now: {text}")
