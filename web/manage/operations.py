"""The operator's page: queues, processes, latency, recall, disks and versions."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flask import Response, request

from shared.contracts.signals import Signals, StageFigures
from web.api.operations import collect_status
from web.api.system_health import OK
from web.http.security import host_name
from web.manage import charts, names
from web.manage.frame import blueprint, render_page
from web.services import services

_REFRESH_MS = 5000
_STAGES = ("wait", "decode", "detect", "crop", "embed", "search", "hydrate", "total")


@dataclass(frozen=True)
class Disk:
    """A disk with its path and its size in bytes."""

    path: str
    total_bytes: int
    free_bytes: int

    @property
    def used_share(self) -> float:
        return 1 - self.free_bytes / max(self.total_bytes, 1)


@blueprint.get("/operations")
def show_operations() -> Response:
    """Show the current status and the metrics of the last hour."""
    parts, status = services(), collect_status()
    minutes, recalls = parts.search_history.minutes(), parts.search_history.recalls()
    signals = Signals.model_validate(status["searches"])
    return render_page(
        "operations.html",
        system=status,
        ready=all(state == OK for state in status["parts"].values()),
        signals=signals,
        minutes=minutes,
        recalls=recalls,
        open_jobs=parts.jobs.list_unfinished(),
        stages=_stages(signals),
        searches_chart=charts.build_bars(signals.per_minute),
        latency_chart=charts.build_lines([[m.p50_ms for m in minutes], [m.p95_ms for m in minutes]]),
        recall_chart=charts.build_lines([[each.recall for each in recalls]], bottom=None, top=1.0),
        disks=list_disks(),
        versions={"Vitrine": status["version"], "Python": platform.python_version()},
        database=urlsplit(parts.settings.database_url).scheme.partition("+")[0],
        flower=get_flower_url(),
        refresh_ms=_REFRESH_MS,
    )


def _stages(signals: Signals) -> list[tuple[str, StageFigures, float, float]]:
    """List name, figures, and median and 95th percentile as shares of the slowest, in processing order."""
    slowest = max((each.p95 for each in signals.stages_ms.values()), default=0.0) or 1.0
    order = {stage: n for n, stage in enumerate(_STAGES)}
    found = sorted(signals.stages_ms.items(), key=lambda item: order.get(item[0], len(order)))
    return [
        (names.translate_stage(stage), each, each.p50 / slowest, each.p95 / slowest) for stage, each in found
    ]


def list_disks() -> list[Disk]:
    """List the local disks of the data folder and the image store, each once."""
    settings = services().settings
    paths = [settings.data_dir]
    store = urlsplit(settings.image_store_url)
    if store.scheme == "file":
        paths.append(Path(unquote(store.path)))
    disks: dict[int, Disk] = {}
    for path in paths:
        existing = next((p for p in (path, *path.parents) if p.exists()), None)
        if existing is not None:
            usage = shutil.disk_usage(existing)
            disks.setdefault(existing.stat().st_dev, Disk(str(path), usage.total, usage.free))
    return list(disks.values())


def get_flower_url() -> str:
    """Build Flower's URL from the host that the client used for this server."""
    host = host_name(request.host) or "127.0.0.1"
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{services().settings.flower.port}/"
