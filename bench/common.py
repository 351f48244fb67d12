"""Share helpers of benchmarks: replicated products, a running instance, results as a file."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from cli.services.milvus import choose_embedded
from shared.settings import ModelSettings, SweepSettings
from tests.servers import free_port
from tests.stack import Stack

ROOT = Path(__file__).parent.parent
#: Settings for ``running_stack`` with the shipped models and production values.
SHIPPED = {
    "VITRINE_MODELS__DETECTOR": "default",
    "VITRINE_MODELS__EMBEDDER": "default",
    # The stack of the tests has other values than production.
    "VITRINE_MODELS__MICRO_BATCH": str(ModelSettings().micro_batch),
    "VITRINE_SWEEP__INTERVAL_S": str(SweepSettings().interval_s),
    "VITRINE_SWEEP__REPUBLISH_AFTER_S": str(SweepSettings().republish_after_s),
}
_PICTURES = 300


class Spent(NamedTuple):
    """A duration in seconds: wall clock, and processor time of this process."""

    clock_s: float
    cpu_s: float


def spent(work: Callable[[], object]) -> Spent:
    """Measure a call."""
    began, cpu_began = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - began, time.process_time() - cpu_began)


def write_source(folder: Path, products: int) -> None:
    """Create ``folder`` with a manifest of ``products`` products that share a few hundred pictures."""
    folder.mkdir()
    pictures = sorted((ROOT / "demo" / "images").glob("*"))[:_PICTURES]
    for picture in pictures:
        shutil.copyfile(picture, folder / picture.name)
    with (folder / "products.jsonl").open("w", encoding="utf-8") as file:
        for n in range(products):
            row = {"product_id": f"p-{n:07}", "title": f"Product {n}", "price": n % 900 + 0.5}
            file.write(json.dumps({**row, "images": [pictures[n % len(pictures)].name]}) + "\n")


@contextmanager
def running_stack(settings: dict[str, str]) -> Iterator[Stack]:
    """Start a Milvus; yield a stack on it that is not started yet, and stop both at the end."""
    # On SIGTERM, exit through the finally below, which stops both.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    with tempfile.TemporaryDirectory() as name:
        server = choose_embedded("auto", Path(name) / "milvus", free_port())
        stack = Stack(Path(name) / "stack", server.uri, "bench", settings)
        stack.folder.mkdir()
        try:
            server.start()
            server.wait_ready()
            yield stack
        finally:
            stack.stop()
            server.stop()


def percentile(values: list[float], share: float, digits: int) -> float:
    """Return the value at a share of the sorted values."""
    return round(sorted(values)[min(int(share * len(values)), len(values) - 1)], digits)


def machine() -> dict[str, object]:
    """Describe the machine; to be called before the measurement loads it."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
    }


def _cpu() -> str:
    """Return the processor's name and its instructions that speed up INT8."""
    facts: dict[str, str] = {}
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            facts.setdefault(name.strip(), value.strip())
    flags = facts.get("flags", "").split()
    quick = [name for name in ("avx2", "avx512f", "avx512_vnni", "amx_int8") if name in flags]
    name = facts.get("model name") or platform.processor() or platform.machine()
    family = f"family {facts['cpu family']} model {facts['model']}" if "model" in facts else ""
    return " ".join(part for part in (name, family, *quick) if part)


def write_results(path: Path, results: Mapping[str, Any]) -> None:
    """Write the results as JSON, and print them."""
    text = json.dumps(results, indent=2)
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{text}\n", encoding="utf-8")
    print(text)
