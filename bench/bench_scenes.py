"""Search with photographs of several products; measure recall by object and calibration.

    python bench/bench_scenes.py DATA [--limit 120]

DATA is a labelled set (``products/products.jsonl``, ``benchmark.jsonl``). Its gallery is imported with the
shipped models and calibrated as by `vitrine calibrate`, with photos composed of the gallery's own pictures on
painted backgrounds. No photograph of the set is used before its search.
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


class Instance:
    """A catalogue with both lanes in this process."""

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

    def finish(self, job: str) -> dict[str, Any]:
        """Work until the queue is empty; return the report of a job."""
        while self.worker.catalogue.work_one() is not None:
            pass
        done = self.jobs.status(job)
        assert done.state == "succeeded", done.error
        return done.report or {}

    def answer(self, source: SearchSource, **options: Any) -> SearchResult:
        """Accept a search, answer it, and return the result."""
        search_options = SearchOptions.model_validate({"catalogue": "scenes", **options})
        search = self.searches.accept("scenes", search_options, source, ttl_s=3600).id
        self.worker.search.answer_waiting()
        status = self.searches.status(search)
        assert status.result is not None, status.error
        return status.result

    def search(self, photo: Path) -> SearchResult:
        """Search with a photo that is scaled down and stripped as by the web."""
        picture = normalise(photo.read_bytes(), ImageLimits())
        return self.answer(SearchSource(query_key=self.store.put(picture.jpeg, "queries")))


def pack_gallery(data: Path) -> bytes:
    """Pack the gallery as an archive for an import."""
    rows, files = [], {}
    for row in map(json.loads, (data / "products/products.jsonl").open(encoding="utf-8")):
        rows.append({name: row[name] for name in ("product_id", "category", "image")})
        files[row["image"]] = (data / "products" / row["image"]).read_bytes()
    return archive({"products.jsonl": "\n".join(map(json.dumps, rows)), **files})


@dataclass
class Tally:
    """Predicted probabilities of hits, whether they were true, and the photograph of each."""

    photographs: int = 0
    predicted: dict[str, list[float]] = field(default_factory=dict)
    true: dict[str, list[float]] = field(default_factory=dict)
    photograph: dict[str, list[int]] = field(default_factory=dict)

    def add(self, name: str, predicted: float | None, true: bool) -> None:
        """Add a hit that has a probability."""
        if predicted is not None:
            self.predicted.setdefault(name, []).append(predicted)
            self.true.setdefault(name, []).append(float(true))
            self.photograph.setdefault(name, []).append(self.photographs)

    def measure(self) -> dict[str, dict[str, Any]]:
        """Measure the calibration by name."""
        return {
            name: measure_calibration(np.array(predicted), np.array(self.true[name]), self.photograph[name])
            for name, predicted in sorted(self.predicted.items())
        }


def match_objects(photograph: Photograph, result: SearchResult) -> dict[int, int]:
    """Return the found object by true one, with an IoU of at least .5."""
    if not result.objects:
        return {}
    truth = np.array([o.box for o in photograph.objects], np.float32)
    table = overlap(truth, np.array([o.box for o in result.objects], np.float32))
    return {n: int(row.argmax()) for n, row in enumerate(table) if row.max() >= SAME_OBJECT}


def tally(photograph: Photograph, result: SearchResult, kinds: dict[str, str], sums: Tally) -> None:
    """Add the hits of a photograph."""
    sums.photographs += 1
    pairs = {found: n for n, found in match_objects(photograph, result).items()}
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
    categories = {kinds[product] for product in right}
    for position, hit in enumerate(hits):
        for what, predicted, true in (
            ("same", hit.probability, hit.product_id in right),
            ("kind", hit.probability_kind, hit.category in categories),
        ):
            sums.add(f"{what}_{part}_all", predicted, true)
            if position == 0:
                sums.add(f"{what}_{part}_first", predicted, true)
    if category is not None and right:
        sums.add("category", category.confidence, category.value in categories)


def measure_scenes(instance: Instance, answered: Iterator[tuple[Photograph, SearchResult]]) -> dict[str, Any]:
    """Measure recall of objects in photographs with several.

    An object counts if the first ten hits of its own group contain its product. Other objects are searched
    again with a drawn box, as a shopper would draw it.
    """
    found, drawn, undetected = [], [], 0
    for photograph, result in answered:
        if photograph.kind != "multi":
            continue
        pairs = match_objects(photograph, result)
        for n, expected in enumerate(photograph.objects):
            hits = result.objects[pairs[n]].hits[:TOP] if n in pairs else []
            found.append(expected.product_id in {hit.product_id for hit in hits})
            undetected += n not in pairs
            if not found[-1]:
                source = instance.searches.load_earlier(result.query_id).source
                redrawn = instance.answer(source, box=expected.box, top_k=TOP)
                drawn.append(expected.product_id in {hit.product_id for hit in redrawn.objects[0].hits})
    both = [True] * sum(found) + drawn
    return {
        "scenes_objects": len(found),
        "scenes_not_detected": undetected,
        **with_interval("scenes_in_top10_percent", 100 * np.array(found, np.float64)),
        "scenes_drawn_again": len(drawn),
        **with_interval("scenes_found_when_drawn_percent", 100 * np.array(drawn, np.float64)),
        **with_interval("scenes_in_top10_or_drawn_percent", 100 * np.array(both, np.float64)),
    }


def measure(instance: Instance, data: Path, labelled: LabelledSet) -> dict[str, Any]:
    """Import, calibrate and search; return the figures."""
    began = time.perf_counter()
    name = f"{secrets.token_hex(32)}-gallery.zip"
    instance.store.put_stream(name, [pack_gallery(data)], "imports", 10**9)
    instance.finish(instance.jobs.create_import("scenes", {"archive": name}).id)
    imported = time.perf_counter()
    report = instance.finish(instance.ranking.calibrate("scenes").id)["calibrate"]
    assert report["calibrated"], report["why_not"]
    calibrated = time.perf_counter()
    rows = map(json.loads, (data / "products/products.jsonl").open(encoding="utf-8"))
    kinds = {row["product_id"]: row["category"] for row in rows}
    answered, sums = [], Tally()
    for photograph in labelled.photographs:
        result = instance.search(photograph.path)
        tally(photograph, result, kinds, sums)
        answered.append((photograph, result))
    calibration = sums.measure()
    return {
        "photographs": len(answered),
        "import_s": round(imported - began, 1),
        "calibrate_s": round(calibrated - imported, 1),
        "search_s": round(time.perf_counter() - calibrated, 1),
        **measure_scenes(instance, iter(answered)),
        **{f"{name}_{what}": each[what] for name, each in calibration.items() for what in ECES},
        **{f"{name}_n": each["n"] for name, each in calibration.items()},
        "category_right_percent": round(100 * float(np.mean(sums.true["category"])), 1),
        "on_composed_photos": {k: v for k, v in report.items() if k != "diagram"},
        "on_the_benchmark": calibration,
        "models": answered[0][1].models,
    }


def main() -> None:
    """Measure, and write results and diagram."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int, help="maximum number of photographs of each kind")
    args = parser.parse_args()
    before = machine()
    labelled = read_set(args.data, args.limit)
    with tempfile.TemporaryDirectory() as folder:
        milvus = choose_embedded("auto", Path(folder) / "milvus", free_port())
        milvus.start()
        try:
            milvus.wait_ready(120)
            (Path(folder) / "data").mkdir()
            instance = Instance(Path(folder) / "data", milvus.uri)
            found = measure(instance, args.data, labelled)
            instance.worker.close()
        finally:
            milvus.stop()
    results = ROOT / "bench/results"
    results.mkdir(exist_ok=True)
    (results / "scenes.json").write_text(json.dumps({**before, **found}, indent=2) + "\n", encoding="utf-8")
    lines = {name: each for name, each in found["on_the_benchmark"].items() if name.endswith("_first")}
    diagram = draw_reliability("Benchmark: predicted and observed", lines)
    (results / "calibration.svg").write_text(diagram + "\n", encoding="utf-8")
    summary = {k: v for k, v in found.items() if not isinstance(v, dict)}
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()
