"""Connect to Milvus lazily, once per process, and translate its errors."""

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
from worker.vector_index.errors import NOT_LOADED, translate_error

#: Timeout of loading and flushing, which move whole segments; too long for a search.
BULK_TIMEOUT_S = 120.0
# Reconnect within a second after a server's restart: by default, channels to one address share a back-off of
# up to two minutes.
_CHANNEL_OPTIONS = {
    "grpc.use_local_subchannel_pool": 1,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
}

# pymilvus logs a page of traceback per failed call; the error that we raise says what matters.
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)


def _is_address(uri: str) -> bool:
    """Return whether the address is one that MilvusClient may connect to: HTTP, HTTPS or a socket."""
    if uri.startswith("unix:"):
        return True
    try:
        parse_web_address(uri)
    except InvalidInput:
        return False
    return True


class Connection:
    """Calls Milvus with a timeout; safe across threads. ``MilvusIndex`` documents the arguments."""

    def __init__(self, uri: str, token: str | None = None, timeout_s: float = 10.0) -> None:
        if not _is_address(uri):
            raise Misconfigured("The address of Milvus is http://host:port, https://host:port or unix:path.")
        self._uri = uri
        self._token = token or ""
        self._timeout_s = timeout_s
        self._client: MilvusClient | None = None
        self._owner_pid = 0
        self._connect_lock = threading.Lock()

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        with self._connect_lock:
            if self._client is not None and self._owner_pid == os.getpid():
                self._client.close()
            self._client = None

    def _connect(self, timeout_s: float) -> MilvusClient:
        """Return this process's client; opens one at the first call and after a fork."""
        with self._connect_lock:
            # A connection inherited through a fork belongs to the parent.
            if self._client is None or self._owner_pid != os.getpid():
                self._client = MilvusClient(
                    self._uri,
                    token=self._token,
                    timeout=timeout_s,
                    dedicated=True,
                    grpc_options=_CHANNEL_OPTIONS | self._proxy_options(),
                )
                self._owner_pid = os.getpid()
            return self._client

    def _proxy_options(self) -> dict[str, int]:
        is_local = urlsplit(self._uri).hostname in (None, "127.0.0.1", "localhost", "::1")
        return {"grpc.enable_http_proxy": 0} if is_local else {}

    def _call(self, method: str, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        """Call a method of the client with a timeout; raise only our errors."""
        limit_s = self._timeout_s if timeout is None else timeout
        try:
            client = self._connect(limit_s)
            return getattr(client, method)(*args, timeout=limit_s, **kwargs)
        except (MilvusException, grpc.RpcError) as error:
            raise translate_error(error) from error

    def _call_loaded(self, method: str, collection: str, **kwargs: Any) -> Any:
        """Call a method; load the collection and retry if it is released, as after a restart."""
        try:
            return self._call(method, collection, **kwargs)
        except VitrineError as error:
            if error.__cause__ is None or getattr(error.__cause__, "code", None) != NOT_LOADED:
                raise
        self.ensure_loaded(collection)
        return self._call(method, collection, **kwargs)

    def ensure_loaded(self, collection: str, wait: bool = True) -> None:
        """Load the collection into memory unless it is loaded.

        Args:
            wait: return only once it can be searched; otherwise an early search waits.
        """
        limit_s = max(self._timeout_s, BULK_TIMEOUT_S)
        self._call("load_collection", collection, timeout=limit_s, _async=not wait)
