"""Photographs of several products through the search path: does each object find its product, and does a
probability of 0.8 mean 0.8?

    python bench/bench_scenes.py DATA [--limit 120]

DATA is a labelled set (``products/products.jsonl``, ``benchmark.jsonl``). Its gallery is imported with the
shipped models and calibrated as `vitrine calibrate` does it: with photos composed of the gallery's own
pictures on painted grounds. No photograph of the set is looked at before it is asked.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.common import machine  # noqa: E402
from cli.services.milvus import choose_embedded  # noqa: E402
from shared.broker.task_names import Lane  # noqa: E402
from shared.catalogue.ranking import RankingRepository  # noqa: E402
from shared.catalogue.store import CatalogueStore  # noqa: E402
from shared.contracts import SearchOptions, SearchResult  # noqa: E402
from shared.contracts.search import Hit, PredictedCategory  # noqa: E402
from shared.database.migrate import migrate  # noqa: E402
from shared.factories import open_database, open_image_store  # noqa: E402
from shared.images import ImageLimits, normalise  # noqa: E402
from shared.jobs.repository import JobRepository  # noqa: E402
from shared.searches.repository import SearchRepository, SearchSource  # noqa: E402
from shared.settings import MilvusSettings, Settings  # noqa: E402
from tests.packing import archive  # noqa: E402
from tests.servers import free_port  # noqa: E402
from worker.calibration.diagram import draw_reliability  # noqa: E402
from worker.calibration.reliability import measure_calibration  # noqa: E402
from worker.evaluation.dataset import LabelledSet, Photograph, read_set  # noqa: E402
from worker.evaluation.metrics import with_interval  # noqa: E402
from worker.process import WorkerProcess, build_process  # noqa: E402
from worker.vision.crops import overlap  # noqa: E402

TOP, SAME_OBJECT = 10, 0.5
ECES = ("ece", "ece_ci", "ece_by_chance")


class Place:
    """A catalogue and both lanes in this process."""

    def __init__(self, folder: Path, milvus_uri: str) -> None:
        milvus = MilvusSettings(uri=milvus_uri, prefix="scenes")
        self.settings = Settings(data_dir=folder, milvus=milvus)
        database = open_database(self.settings)
        migrate(database)
        CatalogueStore(database).create("scenes")
        self.jobs, self.searches = JobRepository(database), SearchRepository(database)
        self.ranking = RankingRepository(database)
        self.store = open_image_store(self.settings)
        self.worker: WorkerProcess = build_process(self.settings, Lane.CATALOGUE, "catalogue@bench")

    def do(self, job: str) -> dict[str, Any]:
        while self.worker.catalogue.work_one() is not None:
            pass
        done = self.jobs.status(job)
        assert done.state == "succeeded", done.error
        return done.report or {}

    def ask(self, asked: SearchSource, **options: Any) -> SearchResult:
        wanted = SearchOptions.model_validate({"catalogue": "scenes", **options})
        search = self.searches.accept("scenes", wanted, asked, ttl_s=3600).id
        self.worker.search.answer_waiting()
        status = self.searches.status(search)
        assert status.result is not None, status.error
        return status.result

    def search(self, photo: Path) -> SearchResult:
        """As the web takes a photo: made smaller and stripped first."""
        picture = normalise(photo.read_bytes(), ImageLimits(), self.settings.images.query_side_px)
        return self.ask(SearchSource(query_key=self.store.put(picture.jpeg, "queries")))


def gallery_archive(data: Path) -> bytes:
    """The gallery in the form that imports read."""
    rows, files = [], {}
    for row in map(json.loads, (data / "products/products.jsonl").open(encoding="utf-8")):
        rows.append({name: row[name] for name in ("product_id", "category", "image")})
        files[row["image"]] = (data / "products" / row["image"]).read_bytes()
    return archive({"products.jsonl": "\n".join(map(json.dumps, rows)), **files})


@dataclass
class Tally:
    """What was said of hits, what of it was true, and of which photograph they are."""

    photographs: int = 0
    said: dict[str, list[float]] = field(default_factory=dict)
    true: dict[str, list[float]] = field(default_factory=dict)
    of: dict[str, list[int]] = field(default_factory=dict)

    def add(self, name: str, said: float | None, true: bool) -> None:
        if said is not None:
            self.said.setdefault(name, []).append(said)
            self.true.setdefault(name, []).append(float(true))
            self.of.setdefault(name, []).append(self.photographs)

    def kept(self) -> dict[str, dict[str, Any]]:
        return {
            name: measure_calibration(np.array(said), np.array(self.true[name]), self.of[name])
            for name, said in sorted(self.said.items())
        }


def on(photograph: Photograph, result: SearchResult) -> dict[int, int]:
    """Which found object is on which true one, by at least half."""
    if not result.objects:
        return {}
    truth = np.array([o.box for o in photograph.objects], np.float32)
    table = overlap(truth, np.array([o.box for o in result.objects], np.float32))
    return {n: int(row.argmax()) for n, row in enumerate(table) if row.max() >= SAME_OBJECT}


def tally(photograph: Photograph, result: SearchResult, kinds: dict[str, str], sums: Tally) -> None:
    sums.photographs += 1
    pairs = {found: n for n, found in on(photograph, result).items()}
    for found, group in enumerate(result.objects):
        right = {photograph.objects[pairs[found]].product_id} if found in pairs else set()
        _tally_group("object", group.hits, group.category, right, kinds, sums)
    right = {o.product_id for o in photograph.objects}
    _tally_group("whole", result.whole.hits, None, right, kinds, sums)


def _tally_group(
    part: str,
    hits: Sequence[Hit],
    category: PredictedCategory | None,
    right: set[str],
    kinds: dict[str, str],
    sums: Tally,
) -> None:
    wanted = {kinds[product] for product in right}
    for place, hit in enumerate(hits):
        for what, said, true in (
            ("same", hit.probability, hit.product_id in right),
            ("kind", hit.probability_kind, hit.category in wanted),
        ):
            sums.add(f"{what}_{part}_all", said, true)
            if place == 0:
                sums.add(f"{what}_{part}_first", said, true)
    if category is not None and right:
        sums.add("category", category.confidence, category.value in wanted)


def scenes(place: Place, answered: Iterator[tuple[Photograph, SearchResult]]) -> dict[str, Any]:
    """Objects of photographs with several, by whether their own group shows their product in its first ten;
    those that it does not are drawn by hand, as a shopper would, on the same photograph."""
    found, drawn, undetected = [], [], 0
    for photograph, result in answered:
        if photograph.kind != "multi":
            continue
        pairs = on(photograph, result)
        for n, wanted in enumerate(photograph.objects):
            hits = result.objects[pairs[n]].hits[:TOP] if n in pairs else []
            found.append(wanted.product_id in {hit.product_id for hit in hits})
            undetected += n not in pairs
            if not found[-1]:
                asked = place.searches.load_earlier(result.query_id).source
                again = place.ask(asked, box=wanted.box, top_k=TOP)
                drawn.append(wanted.product_id in {hit.product_id for hit in again.objects[0].hits})
    both = [True] * sum(found) + drawn
    return {
        "scenes_objects": len(found),
        "scenes_not_detected": undetected,
        **with_interval("scenes_in_top10_percent", 100 * np.array(found, np.float64)),
        "scenes_drawn_again": len(drawn),
        **with_interval("scenes_found_when_drawn_percent", 100 * np.array(drawn, np.float64)),
        **with_interval("scenes_in_top10_or_drawn_percent", 100 * np.array(both, np.float64)),
    }


def measure(place: Place, data: Path, labelled: LabelledSet) -> dict[str, Any]:
    began = time.perf_counter()
    name = f"{secrets.token_hex(32)}-gallery.zip"
    place.store.put_stream(name, [gallery_archive(data)], "imports", 10**9)
    place.do(place.jobs.create_import("scenes", {"archive": name}).id)
    imported = time.perf_counter()
    report = place.do(place.ranking.calibrate("scenes").id)["calibrate"]
    assert report["calibrated"], report["why_not"]
    calibrated = time.perf_counter()
    rows = map(json.loads, (data / "products/products.jsonl").open(encoding="utf-8"))
    kinds = {row["product_id"]: row["category"] for row in rows}
    answered, sums = [], Tally()
    for photograph in labelled.photographs:
        result = place.search(photograph.path)
        tally(photograph, result, kinds, sums)
        answered.append((photograph, result))
    kept = sums.kept()
    return {
        "photographs": len(answered),
        "import_s": round(imported - began, 1),
        "calibrate_s": round(calibrated - imported, 1),
        "search_s": round(time.perf_counter() - calibrated, 1),
        **scenes(place, iter(answered)),
        **{f"{name}_{what}": each[what] for name, each in kept.items() for what in ECES},
        **{f"{name}_n": each["n"] for name, each in kept.items()},
        "category_right_percent": round(100 * float(np.mean(sums.true["category"])), 1),
        "on_composed_photos": {k: v for k, v in report.items() if k != "diagram"},
        "on_the_benchmark": kept,
        "models": answered[0][1].models,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int, help="At most so many photographs of each kind.")
    args = parser.parse_args()
    before = machine()
    labelled = read_set(args.data, args.limit)
    with tempfile.TemporaryDirectory() as folder:
        milvus = choose_embedded("auto", Path(folder) / "milvus", free_port())
        milvus.start()
        try:
            milvus.wait_ready(120)
            (Path(folder) / "data").mkdir()
            place = Place(Path(folder) / "data", milvus.uri)
            found = measure(place, args.data, labelled)
            place.worker.close()
        finally:
            milvus.stop()
    results = ROOT / "bench/results"
    results.mkdir(exist_ok=True)
    (results / "scenes.json").write_text(json.dumps({**before, **found}, indent=2) + "\n", encoding="utf-8")
    lines = {name: each for name, each in found["on_the_benchmark"].items() if name.endswith("_first")}
    diagram = draw_reliability("Benchmark: what was said, and what came true", lines)
    (results / "calibration.svg").write_text(diagram + "\n", encoding="utf-8")
    shown = {k: v for k, v in found.items() if not isinstance(v, dict)}
    print(json.dumps(shown, indent=2))


if __name__ == "__main__":
    main()
