"""Run the embedded Milvus as a child process: the server of the PyPI wheel, or Milvus Lite."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Literal

import grpc

from cli.services import milvus_binary, milvus_config
from cli.services.child import Child
from cli.services.sockets import find_free_ports, is_free
from shared.errors import Conflict, IndexUnavailable, Misconfigured, StorageUnavailable

Kind = Literal["auto", "server", "lite"]
_CHECK_HEALTH = "/milvus.proto.milvus.MilvusService/CheckHealth"
_IS_HEALTHY = b"\x10\x01"  # CheckHealthResponse.isHealthy = true, on the wire
_ETCD_DELETE_RANGE = "/etcdserverpb.KV/DeleteRange"
_SESSIONS, _SESSIONS_END = b"by-dev/meta/session/", b"by-dev/meta/session0"


class EmbeddedMilvus(ABC):
    """A Milvus that runs as a child of this process and stores its data in one folder.

    Args:
        data_dir: exclusive folder of this server; created if missing.
        port: loopback port for clients; None chooses a free one once.

    Raises:
        StorageUnavailable: the folder cannot be created.
    """

    kind: str

    def __init__(self, data_dir: Path, port: int | None = None) -> None:
        self.data_dir = data_dir.absolute()
        self.port = port or find_free_ports(1)[0]
        self._child: Child | None = None
        try:
            (self.data_dir / "logs").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageUnavailable(f"The index cannot be kept in {self.data_dir}: {error}") from error

    @property
    def uri(self) -> str:
        """Address for clients."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log_path(self) -> Path:
        """Log file of standard output and error."""
        return self.data_dir / "logs" / "output.log"

    @property
    def pid(self) -> int | None:
        """Process id, None before ``start``."""
        return None if self._child is None else self._child.pid

    def start(self) -> None:
        """Start the process without waiting; no effect while it runs. See ``Child`` for the thread.

        Raises:
            Conflict: the port is in use, or another process uses the data folder.
            Misconfigured: Milvus is not installed.
            StorageUnavailable: no disk space or no permission to write.
        """
        if self.poll() is None and self._child is not None:
            return
        if not is_free(self.port):
            raise Conflict(f"Port {self.port} is in use: stop what listens there, or set another port.")
        self._child = self._start()

    def wait_ready(self, timeout_s: float = 90.0) -> None:
        """Wait until Milvus answers requests.

        Raises:
            IndexUnavailable: it ended, or did not answer in time; the message names its log.
            Conflict: another process uses the data folder.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            code = self.poll()
            if code is not None:
                raise self._ended(code)
            if self.ready():
                return
            time.sleep(0.1)
        raise IndexUnavailable(f"Milvus was not ready after {timeout_s:.0f} s; see {self.log_path}.")

    def poll(self) -> int | None:
        """Return the exit code; None while it runs or was never started."""
        return None if self._child is None else self._child.poll()

    def stop(self, grace_s: float = 10.0) -> int | None:
        """Terminate Milvus, and kill it after ``grace_s``; acknowledged rows survive both."""
        return None if self._child is None else self._child.stop(grace_s)

    def kill(self) -> None:
        """Kill the process immediately."""
        if self._child is not None:
            self._child.kill()

    def ready(self) -> bool:
        """Return whether it reports itself healthy over gRPC."""
        answer = _call(self.port, _CHECK_HEALTH, b"")
        return answer is not None and _IS_HEALTHY in answer

    @abstractmethod
    def _start(self) -> Child: ...

    def _ended(self, code: int) -> Exception:
        return IndexUnavailable(f"Milvus ended with code {code} while starting; see {self.log_path}.")


class MilvusServer(EmbeddedMilvus):
    """The Milvus 2.3.5 server of the PyPI wheel (Linux x86-64), with all ports on loopback."""

    kind = "server"

    def _start(self) -> Child:
        data = milvus_binary.wheel_data()
        if data is None:
            raise Misconfigured(
                "The Milvus server needs Linux on x86-64 and the package milvus==2.3.5: "
                "install it, or choose Milvus Lite."
            )
        lock = self._lock()
        try:
            binaries = milvus_binary.unpack(data, self.data_dir)
            self._ports = milvus_config.Ports.choose(self.port, self.data_dir / "ports.json")
            milvus_config.write(data, self.data_dir, self._ports)
            child = Child(
                "milvus",
                [str(binaries / "milvus"), "run", "standalone"],
                env=milvus_config.environment(binaries, self.data_dir, self._ports),
                cwd=self.data_dir,
                log_path=self.log_path,
                # With a million rows SIGTERM does not end it; acknowledged rows survive SIGKILL.
                death_signal=signal.SIGKILL,
                pass_fds=[lock],
            )
            child.start()
        finally:
            # The child has inherited the lock and holds it until it ends.
            os.close(lock)
        return child

    def _lock(self) -> int:
        descriptor = os.open(self.data_dir / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise Conflict(f"Another Milvus runs on {self.data_dir}; stop it first.") from error
        return descriptor

    def stop(self, grace_s: float = 10.0) -> int | None:
        """Ask it to end, kill it after ``grace_s``; acknowledged rows survive both.

        This version leaves its parts registered when it ends, and its successor waits for each old
        registration to run out. So they are deleted first: the next start takes 3 s and not 12.
        """
        if self.poll() is None and self._child is not None:
            ends = _SESSIONS, _SESSIONS_END
            request = b"".join(
                bytes((tag, len(key))) + key for tag, key in zip(b"\x0a\x12", ends, strict=True)
            )
            _call(self._ports.etcd_client, _ETCD_DELETE_RANGE, request)
        return super().stop(grace_s)

    def ready(self) -> bool:
        """Return whether all its parts report healthy, and requests are answered."""
        if self._child is None:
            return False
        try:
            url = f"http://127.0.0.1:{self._ports.health}/healthz"
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(url, timeout=2.0) as answer:
                healthy = answer.status == 200
        except (urllib.error.URLError, OSError):
            return False
        return healthy and super().ready()


class MilvusLite(EmbeddedMilvus):
    """Milvus Lite in a process of its own: one writer, one owner of the files."""

    kind = "lite"
    LOCKED_EXIT_CODE = 3  # as in worker/milvus_lite/server.py

    def _start(self) -> Child:
        root = Path(__file__).resolve().parents[2]
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(
            part for part in (str(root), environment.get("PYTHONPATH")) if part
        )
        arguments = ["--data", str(self.data_dir / "lite.db"), "--port", str(self.port)]
        child = Child(
            "milvus-lite",
            [sys.executable, "-m", "worker.milvus_lite.server", *arguments],
            env=environment,
            log_path=self.log_path,
        )
        child.start()
        return child

    def _ended(self, code: int) -> Exception:
        if code == self.LOCKED_EXIT_CODE:
            return Conflict(f"Another process has opened {self.data_dir}; stop it first.")
        return super()._ended(code)


def choose_embedded(kind: Kind, data_dir: Path, port: int | None = None) -> EmbeddedMilvus:
    """Return the embedded Milvus to start: ``auto`` is the server if it is supported, else Lite.

    The two store their data in different folders and formats: changing the kind requires a rebuild.
    """
    if kind == "server" or (kind == "auto" and milvus_binary.wheel_data() is not None):
        return MilvusServer(data_dir / "server", port)
    return MilvusLite(data_dir / "lite", port)


def _call(port: int, method: str, request: bytes) -> bytes | None:
    """Call a gRPC method with an encoded message; return None without an answer."""
    # The address is local, so proxies of the environment are ignored.
    with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_http_proxy", 0)]) as channel:
        try:
            answer: bytes = channel.unary_unary(method)(request, timeout=2.0)
        except grpc.RpcError:
            return None
    return answer
