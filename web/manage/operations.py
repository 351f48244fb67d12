"""The operator's page: queues, processes, speed, completeness, room, versions, on one page."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flask import Response, request

from shared.contracts.signals import Signals, StageFigures
from shared.searches.history import SearchHistory
from web.api.operations import status_now
from web.api.system_health import OK
from web.http.request_parts import host_name
from web.manage import charts, names
from web.manage.frame import blueprint, page_of
from web.services import services

_EVERY_MS = 5000
_STAGES = ("wait", "decode", "detect", "crop", "embed", "search", "hydrate", "total")


@dataclass(frozen=True)
class Room:
    """A disk: where, and its bytes."""

    place: str
    total: int
    free: int

    @property
    def used_share(self) -> float:
        return 1 - self.free / max(self.total, 1)


@blueprint.get("/operations")
def operations() -> Response:
    """What the server does now, and how it did in the last hour."""
    parts, status = services(), status_now()
    history = SearchHistory(parts.database)
    minutes, recalls = history.minutes(), history.recalls()
    signals = Signals.model_validate(status["searches"])
    return page_of(
        "operations.html",
        system=status,
        well=all(said == OK for said in status["parts"].values()),
        signals=signals,
        minutes=minutes,
        recalls=recalls,
        open_jobs=parts.jobs.list_unfinished(),
        stages=_stages(signals),
        searches_chart=charts.bars(signals.per_minute),
        latency_chart=charts.lines([[m.p50_ms for m in minutes], [m.p95_ms for m in minutes]]),
        recall_chart=charts.lines([[each.recall for each in recalls]], bottom=None, top=1.0),
        rooms=rooms(),
        versions={"Vitrine": status["version"], "Python": platform.python_version()},
        database=urlsplit(parts.settings.database_url).scheme.partition("+")[0],
        flower=flower_address(),
        every_ms=_EVERY_MS,
    )


def _stages(signals: Signals) -> list[tuple[str, StageFigures, float, float]]:
    """Name, figures, and the median and the 95th percentile as shares of the longest, in their order."""
    slowest = max((each.p95 for each in signals.stages_ms.values()), default=0.0) or 1.0
    order = {stage: n for n, stage in enumerate(_STAGES)}
    found = sorted(signals.stages_ms.items(), key=lambda item: order.get(item[0], len(order)))
    return [(names.of_stage(stage), each, each.p50 / slowest, each.p95 / slowest) for stage, each in found]


def rooms() -> list[Room]:
    """The disks of the data folder and of the image store, each once; none that lies elsewhere."""
    settings = services().settings
    places = [settings.data_dir]
    store = urlsplit(settings.image_store_url)
    if store.scheme == "file":
        places.append(Path(unquote(store.path)))
    found: dict[int, Room] = {}
    for place in places:
        near = next((p for p in (place, *place.parents) if p.exists()), None)
        if near is not None:
            usage = shutil.disk_usage(near)
            found.setdefault(near.stat().st_dev, Room(str(place), usage.total, usage.free))
    return list(found.values())


def flower_address() -> str:
    """Flower is beside us, or where the proxy leads that serves us."""
    host = host_name(request.host) or "127.0.0.1"
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{services().settings.flower.port}/"
