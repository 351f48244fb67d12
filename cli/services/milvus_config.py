"""Configure the embedded Milvus server: ports, folders, and limits for a small machine."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cli.services.sockets import is_free
from shared.errors import Conflict, Misconfigured

# Below Linux' range of ports for outgoing connections, so that they stay free.
_INTERNAL_PORTS = range(20000, 32000)
#: After a crash, the old session must expire before a new one can start. A server whose processes get no
#: processor time for this long ends itself.
SESSION_TTL_S = 6


@dataclass(frozen=True, slots=True)
class Ports:
    """All ports of a server on loopback; only ``proxy`` is for clients."""

    proxy: int
    proxy_internal: int
    health: int
    etcd_client: int
    etcd_peer: int
    root_coord: int
    data_coord: int
    data_node: int
    query_coord: int
    query_node: int
    index_node: int

    @classmethod
    def choose(cls, proxy: int, remembered: Path) -> Ports:
        """Return this proxy port with the internal ports of the last start, or new ones if those are in use.

        A killed server leaves the addresses of its parts in its registry, and its successor connects to them.
        With the same ports it is ready in seconds; with new ports it waits half a minute until the old
        registrations expire.
        """
        names = [each.name for each in fields(cls)][1:]
        try:
            before = json.loads(remembered.read_text("ascii"))
            internal = [int(before[name]) for name in names]
        except (OSError, ValueError, KeyError, TypeError):
            internal = []
        if not internal or proxy in internal or not all(map(is_free, internal)):
            internal = _free_block(len(names), proxy)
            remembered.write_text(json.dumps(dict(zip(names, internal, strict=True))), "ascii")
        return cls(proxy, *internal)


def _free_block(count: int, taken: int) -> list[int]:
    starts = list(range(_INTERNAL_PORTS.start, _INTERNAL_PORTS.stop, count))
    random.shuffle(starts)
    for start in starts:
        block = list(range(start, start + count))
        if taken not in block and all(map(is_free, block)):
            return block
    raise Conflict(f"No {count} free ports in a row from {_INTERNAL_PORTS.start} to {_INTERNAL_PORTS.stop}.")


def write(template_folder: Path, run_dir: Path, ports: Ports) -> None:
    """Write the server's configuration files below ``run_dir``.

    ``milvus.yaml`` is the wheel's template with our values. This version reads no second file with overrides,
    and a file with our values only would leave settings without defaults.
    """
    configs = run_dir / "configs"
    configs.mkdir(parents=True, exist_ok=True)
    template = (template_folder / "config.yaml.template").read_text("utf-8")
    (configs / "milvus.yaml").write_text(_filled(template, _settings(run_dir, ports)), "utf-8")
    (configs / "etcd.yaml").write_text(json.dumps(_etcd(ports), indent=1), "utf-8")
    shutil.copyfile(template_folder / "glog.conf", configs / "glog.conf")


def _filled(template: str, settings: dict[str, Any]) -> str:
    """Return the template with the placeholders at their defaults and the dotted settings replaced."""
    remaining = dict(settings)
    # The only setting that the template lacks.
    etcd_config = remaining.pop("etcd.config.path")
    lines: list[str] = []
    path: list[str] = []
    for line in re.sub(r"\{\{[^:}]*:?\s*([^}]*?)\s*\}\}", r"\1", template).splitlines():
        found = re.match(r"( *)(\w+):", line)
        if found:
            path = [*path[: len(found[1]) // 2], found[2]]
            dotted = ".".join(path)
            if dotted in remaining:
                # JSON is a subset of YAML and quotes special characters.
                line = f"{found[0]} {json.dumps(remaining.pop(dotted))}"
        lines.append(line)
        if line.startswith("etcd:"):
            lines += ["  config:", f"    path: {json.dumps(etcd_config)}"]
    if remaining:
        raise Misconfigured(f"The wheel's configuration has no {', '.join(sorted(remaining))}.")
    return "\n".join(lines) + "\n"


def environment(binaries: Path, run_dir: Path, ports: Ports) -> dict[str, str]:
    """Return the environment of the server, without proxies and secrets of this process."""
    inherited = {
        key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR", "TZ") if key in os.environ
    }
    threads = str(max(2, min(4, os.cpu_count() or 2)))
    return inherited | {
        "DEPLOY_MODE": "STANDALONE",
        "METRICS_PORT": str(ports.health),
        "MILVUS_RUN_DIR": str(run_dir / "run"),
        "LD_LIBRARY_PATH": str(binaries),
        "OMP_NUM_THREADS": threads,
        "GOMAXPROCS": threads,
        "MALLOC_ARENA_MAX": "4",
    }


def _settings(run_dir: Path, ports: Ports) -> dict[str, Any]:
    data = run_dir / "data"
    here = "127.0.0.1"
    return {
        "etcd.endpoints": f"{here}:{ports.etcd_client}",
        "etcd.config.path": str(run_dir / "configs" / "etcd.yaml"),
        "etcd.data.dir": str(data / "etcd"),
        "etcd.log.level": "error",
        "etcd.log.path": str(run_dir / "logs" / "etcd.log"),
        "localStorage.path": str(data),
        "rocksmq.path": str(data / "rocksmq"),
        # Only messages that are already in segments are removed from the log, so nothing is lost.
        "rocksmq.retentionTimeInMinutes": 1440,
        "rocksmq.retentionSizeInMB": 1024,
        # With more collections than channels, collections share channels, and after a restart this version
        # hides rows that are not in segments yet. An idle channel costs nothing.
        "rootCoord.dmlChannelNum": 64,
        "rootCoord.ip": here,
        "rootCoord.port": ports.root_coord,
        "proxy.ip": here,
        "proxy.port": ports.proxy,
        "proxy.internalPort": ports.proxy_internal,
        "proxy.http.enabled": False,
        "dataCoord.ip": here,
        "dataCoord.port": ports.data_coord,
        "dataNode.ip": here,
        "dataNode.port": ports.data_node,
        "queryCoord.ip": here,
        "queryCoord.port": ports.query_coord,
        "queryNode.ip": here,
        "queryNode.port": ports.query_node,
        "indexNode.ip": here,
        "indexNode.port": ports.index_node,
        "indexNode.enableDisk": False,
        "log.level": "warn",
        "log.stdout": False,
        "log.file.rootPath": str(run_dir / "logs"),
        "log.file.maxSize": 20,
        "log.file.maxBackups": 2,
        # A search with the default consistency finds all writes that are older than this.
        "common.gracefulTime": 1500,
        "common.session.ttl": SESSION_TTL_S,
    }


def _etcd(ports: Ports) -> dict[str, Any]:
    client = f"http://127.0.0.1:{ports.etcd_client}"
    peer = f"http://127.0.0.1:{ports.etcd_peer}"
    return {
        "name": "default",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
    }
