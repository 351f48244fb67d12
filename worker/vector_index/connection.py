"""The connection to Milvus: made at first use, anew in a forked child, with every error as ours."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any
from urllib.parse import urlsplit

import grpc
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from shared.errors import InvalidInput, Misconfigured, VitrineError
from shared.net.addresses import parse_web_address
from worker.vector_index.errors import NOT_LOADED, translated

#: Loading and flushing move whole segments; a search must not wait so long.
BULK_TIMEOUT_S = 120.0
# A server that came back is found within a second: by default channels to one address share a back-off
# of up to two minutes.
_CHANNEL = {
    "grpc.use_local_subchannel_pool": 1,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
}

# pymilvus logs a page of traceback for each failed call; what matters is in the error that we raise.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)


def _is_address(uri: str) -> bool:
    if uri.startswith("unix:"):
        return True
    try:
        parse_web_address(uri)
    except InvalidInput:
        return False
    return True


class Connection:
    """Calls Milvus with a timeout; safe across threads. ``MilvusIndex`` says what the arguments are."""

    def __init__(self, uri: str, token: str | None = None, timeout_s: float = 10.0) -> None:
        if not _is_address(uri):
            raise Misconfigured("The address of Milvus is http://host:port, https://host:port or unix:path.")
        self._uri = uri
        self._token = token or ""
        self._timeout_s = timeout_s
        self._client: MilvusClient | None = None
        self._owner_pid = 0
        self._connecting = threading.Lock()

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        with self._connecting:
            if self._client is not None and self._owner_pid == os.getpid():
                self._client.close()
            self._client = None

    def _connected(self, timeout_s: float) -> MilvusClient:
        with self._connecting:
            # A connection that came through a fork belongs to the parent.
            if self._client is None or self._owner_pid != os.getpid():
                self._client = MilvusClient(
                    self._uri,
                    token=self._token,
                    timeout=timeout_s,
                    dedicated=True,
                    grpc_options=_CHANNEL | self._proxying(),
                )
                self._owner_pid = os.getpid()
            return self._client

    def _proxying(self) -> dict[str, int]:
        here = urlsplit(self._uri).hostname in (None, "127.0.0.1", "localhost", "::1")
        return {"grpc.enable_http_proxy": 0} if here else {}

    def _call(self, method: str, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        """Call the client with a timeout and raise only our errors."""
        limit_s = self._timeout_s if timeout is None else timeout
        try:
            client = self._connected(limit_s)
            return getattr(client, method)(*args, timeout=limit_s, **kwargs)
        except (MilvusException, grpc.RpcError) as error:
            raise translated(error) from error

    def _call_loaded(self, method: str, collection: str, **kwargs: Any) -> Any:
        """The same, and once more when the collection came up released, as after a restart."""
        try:
            return self._call(method, collection, **kwargs)
        except VitrineError as error:
            if error.__cause__ is None or getattr(error.__cause__, "code", None) != NOT_LOADED:
                raise
        self.ensure_loaded(collection)
        return self._call(method, collection, **kwargs)

    def ensure_loaded(self, collection: str, wait: bool = True) -> None:
        """Load the collection into memory unless it is.

        Args:
            wait: until it can be searched; without, a search that comes before waits by itself.
        """
        limit_s = max(self._timeout_s, BULK_TIMEOUT_S)
        self._call("load_collection", collection, timeout=limit_s, _async=not wait)
