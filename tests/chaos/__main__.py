"""Run mixed traffic under faults and report what was lost, doubled, slow to recover, or grew.

    python -m tests.chaos --minutes 60 --seed 1

PostgreSQL, Redis, Milvus, one web and two workers of each lane run as real processes. About every ten
seconds one of fourteen faults is put in and taken out again; one request in a hundred is hostile. The exit
code is 0 only when nothing was lost or doubled and no invariant was broken.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

from tests.chaos.audit import audit
from tests.chaos.faults import choose
from tests.chaos.meter import Meter, wait_until_empty
from tests.chaos.record import Record
from tests.chaos.site import ImageDisk, Site, open_servers
from tests.chaos.traffic import Clients, wait_until_searchable
from tests.packing import archive, pictures

_RECOVERY_LIMIT_S = 120.0
_DRAIN_LIMIT_S = 300.0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=1.0, help="multiplies the traffic")
    parser.add_argument("--pause-s", type=float, default=6.0, help="mean pause between two faults")
    parser.add_argument("--out", type=Path, help="write the report as JSON, too")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vitrine-chaos-"))
    folder.chmod(0o755)
    # Stopped from outside, it stops what it started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    milvus, database_url, stops = open_servers(folder)
    site = Site(folder, database_url, milvus)
    disk = ImageDisk(folder / "data" / "images")
    try:
        report = run(site, disk, args)
    finally:
        site.stop()
        for stop in stops:
            stop()  # type: ignore[operator]
        disk.close()
    print(json.dumps(report, indent=2))
    if args.out:
        args.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    is_clean = not report["violations"] and not any(report["audit"].values())
    if is_clean:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"logs are kept in {folder}", file=sys.stderr)
    return 0 if is_clean else 1


def run(site: Site, disk: ImageDisk, args: argparse.Namespace) -> dict[str, Any]:
    """Fill a catalogue, start traffic, put in faults until the time is over, then heal and audit."""
    chance, record = random.Random(args.seed), Record()
    site.start_all()
    first = site.wait_job(site.import_folder("shop", archive(pictures(24))))
    assert first["state"] == "succeeded", first
    clients, meter = Clients(site.url, record, args.seed, args.rate), Meter(site, record)
    clients.start()
    meter.start()
    recoveries: dict[str, list[float]] = defaultdict(list)
    began = time.monotonic()
    while (passed := time.monotonic() - began) < args.minutes * 60:
        site.settle(chance.expovariate(1 / args.pause_s))
        supervise(site, record, passed)
        fault = choose(site, disk, chance)
        print(
            f"{passed:6.0f} s  {fault.name}; {record.accepted} accepted, {len(record.pending)} pending",
            flush=True,
        )
        fault.inject()
        site.settle(chance.uniform(*fault.lasts_s))
        fault.heal()
        recovered = wait_until_searchable(
            site.url, _RECOVERY_LIMIT_S, partial(supervise, site, record, passed)
        )
        if recovered is None:
            record.violate(f"no search succeeded within {_RECOVERY_LIMIT_S:.0f} s of: {fault.name}")
        else:
            recoveries[fault.name].append(recovered)
    clients.stop_asking()
    wait_until_empty(record, _DRAIN_LIMIT_S)
    clients.stop_polling()
    meter.stop()
    return report_of(site, record, meter, recoveries, time.monotonic() - began)


def supervise(site: Site, record: Record, passed_s: float) -> None:
    """Start processes again that ended by themselves, and count them."""
    for name in site.restart_ended():
        record.ended[name] += 1
        print(f"{passed_s:6.0f} s  {name} had ended, and is started again", flush=True)


def report_of(
    site: Site, record: Record, meter: Meter, recoveries: dict[str, list[float]], seconds: float
) -> dict[str, Any]:
    waits = sorted(record.waits_s) or [0.0]
    return {
        "minutes": round(seconds / 60, 1),
        "searches_accepted": record.accepted,
        "search_outcomes": dict(record.outcomes),
        "search_seen_ended_p50_s": round(waits[len(waits) // 2], 2),
        "search_seen_ended_p95_s": round(waits[int(len(waits) * 0.95)], 2),
        "job_outcomes": dict(record.job_outcomes),
        "http_answers": dict(sorted(record.answers.items())),
        "faults": {name: len(times) for name, times in sorted(recoveries.items())},
        "processes_that_ended_by_themselves": dict(record.ended),
        "recovery_s_median_and_max": {
            name: [round(sorted(times)[len(times) // 2], 1), round(max(times), 1)]
            for name, times in sorted(recoveries.items())
        },
        "growth_first_third_last_third_max": {
            name: [
                round(value / 1e6, 1) if "RSS" in name or "memory" in name else value
                for value in meter.growth(name)
            ]
            for name in sorted(meter.samples)
        },
        "audit": audit(site, record),
        "violations": record.violations[:50],
    }


if __name__ == "__main__":
    raise SystemExit(main())
