"""Compare filtered searches with brute force on each Milvus that runs here: recall and milliseconds.

    python bench/bench_filters.py [--rows 100000] [--queries 60] [--kinds server lite]

Rows are clustered like embeddings of products, each with 32 tokens. Filters pass 0.1 to 50 % of them in two
ways: ``spread``, where passing rows are everywhere, and ``apart``, where they are far from the query, which
is hard for a graph. Exact answers are numpy's.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.common import machine, write_results  # noqa: E402
from cli.services.milvus import EmbeddedMilvus, MilvusLite, MilvusServer  # noqa: E402
from shared.filters import filter_fields, parse  # noqa: E402
from worker.indexes.rows import index_row  # noqa: E402
from worker.vector_index import MilvusIndex  # noqa: E402
from worker.vector_index.contract import IndexRow  # noqa: E402
from worker.vision import Embeddings  # noqa: E402

DIM, K = 256, 10
SHARES = (0.001, 0.01, 0.1, 0.5)
KINDS: dict[str, type[EmbeddedMilvus]] = {"server": MilvusServer, "lite": MilvusLite}


@dataclass(frozen=True)
class World:
    """Rows, their ranks by two attributes (0 to 1), and queries."""

    embeddings: Embeddings
    ranks: dict[str, np.ndarray]
    queries: Embeddings


def make_world(rows: int, queries: int) -> World:
    """Generate clustered rows, and queries near some of them."""
    chance = np.random.default_rng(5)
    centres = unit(chance.normal(size=(max(rows // 20, 1), DIM)))
    embeddings = unit(
        centres[chance.integers(len(centres), size=rows)] + 0.04 * chance.normal(size=(rows, DIM))
    )
    nearness = embeddings @ centres[0]
    far = np.argsort(np.argsort(nearness)) / rows
    near = np.flatnonzero(far > 0.9)
    targets = embeddings[chance.choice(near, size=queries)] + 0.02 * chance.normal(size=(queries, DIM))
    return World(embeddings, {"spread": chance.permutation(rows) / rows, "apart": far}, unit(targets))


def unit(vectors: np.ndarray) -> Embeddings:
    """Normalise vectors."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def make_rows(world: World, start: int, stop: int) -> list[IndexRow]:
    """Make the index rows of a range of products."""
    rows = []
    for n in range(start, stop):
        product = SimpleNamespace(
            titles={
                "en": f"thing {n} of {n % 97} words {n % 13} more {n % 7}",
                "de": f"ding {n} aus {n % 97}",
            },
            category=f"category {n % 40}",
            price=None,
            currency="EUR",
            tags=[f"tag {n % 11}", f"tag {n % 5}"],
            attributes={name: round(float(rank[n]), 6) for name, rank in world.ranks.items()}
            | {"material": f"m{n % 9}", "maker": f"brand {n % 300}", "size": n % 50, "sold_out": n % 3 == 0},
        )
        rows.append(index_row(f"p{n}", product, filter_fields(product), f"i{n}", 0, world.embeddings[n]))
    return rows


def fill(index: MilvusIndex, world: World) -> None:
    """Write all rows and wait until they are searched through the graph."""
    index.create("filters", DIM)
    for start in range(0, len(world.embeddings), 2000):
        index.upsert("filters", make_rows(world, start, min(start + 2000, len(world.embeddings))))
    index.flush("filters")
    wait_for_graph(index, len(world.embeddings))


def wait_for_graph(index: MilvusIndex, rows: int) -> None:
    """Wait until all rows are in segments with a graph; before that, searches are exact."""
    while True:
        status = index._call("describe_index", "filters", "embedding")
        if status["state"] == "Finished" and int(status["pending_index_rows"]) == 0:
            return
        print(f"graph of {status['indexed_rows']} of {rows} rows", file=sys.stderr)
        time.sleep(5)


def search(
    index: MilvusIndex, world: World, name: str, text: str | None, passing: np.ndarray
) -> dict[str, float]:
    """Search sequentially; compare with the true nearest neighbours among the rows that pass."""
    filter_ = None if text is None else parse(text)
    true = np.argsort(-(world.queries @ world.embeddings[passing].T), axis=1)[:, :K]
    found, spent = 0, []
    index.search("filters", world.queries[:1], K, filter_)
    for query, nearest in zip(world.queries, true, strict=True):
        began = time.perf_counter()
        hits = index.search("filters", query[None], K, filter_)[0]
        spent.append(1000 * (time.perf_counter() - began))
        found += len({hit.product_id for hit in hits} & {f"p{passing[n]}" for n in nearest})
    return {
        f"{name}_recall_at_{K}": round(found / (len(true) * min(K, len(passing))), 4),
        f"{name}_p50_ms": round(float(np.percentile(spent, 50)), 1),
        f"{name}_p95_ms": round(float(np.percentile(spent, 95)), 1),
    }


def measure(kind: str, world: World, folder: Path) -> dict[str, float]:
    """Measure one kind of Milvus; return figures under flat keys."""
    milvus = KINDS[kind](folder / kind)
    index = MilvusIndex(milvus.uri, timeout_s=60)
    try:
        milvus.start()
        milvus.wait_ready()
        began = time.perf_counter()
        fill(index, world)
        figures = {f"{kind}_fill_s": round(time.perf_counter() - began, 1)}
        all_rows = np.arange(len(world.embeddings))
        figures |= search(index, world, f"{kind}_unfiltered", None, all_rows)
        for way, rank in world.ranks.items():
            for share in SHARES:
                passing = np.flatnonzero(np.round(rank, 6) < share)
                text = f"attributes.{way} < {share}"
                figures |= search(index, world, f"{kind}_{way}_{100 * share:g}_percent", text, passing)
                print({k: v for k, v in figures.items() if f"{way}_{100 * share:g}_" in k}, file=sys.stderr)
        figures |= {f"{kind}_load_average": round(os.getloadavg()[0], 1)}
        return figures
    finally:
        index.close()
        milvus.stop()


def main() -> None:
    """Measure each kind and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    arguments = parser.parse_args()
    world = make_world(arguments.rows, arguments.queries)
    results: dict[str, object] = dict(machine())
    with tempfile.TemporaryDirectory(prefix="vitrine-filters-") as folder:
        for kind in arguments.kinds:
            results |= {f"{kind}_rows": arguments.rows} | measure(kind, world, Path(folder))
    # Keep the results of the other kind from an earlier run.
    path = ROOT / "bench" / "results" / "filters.json"
    results = (json.loads(path.read_text()) if path.exists() else {}) | results
    write_results(path, results)


if __name__ == "__main__":
    main()
