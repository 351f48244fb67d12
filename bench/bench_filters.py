"""Filtered searches against brute force, on every Milvus that runs here: recall and milliseconds.

    python bench/bench_filters.py [--rows 100000] [--queries 60] [--kinds server lite]

Rows are clustered as embeddings of products are, each with 32 tokens. Filters keep 0.1 to 50 % of them, in
two ways: ``spread``, where what passes lies everywhere; and ``apart``, where it lies far from what is
searched with, which is the hard case of a graph. Exact answers are numpy's.
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
    """Rows, the rank of each by two attributes (0 to 1), and what is searched with."""

    embeddings: Embeddings
    ranks: dict[str, np.ndarray]
    queries: Embeddings


def make_world(rows: int, queries: int) -> World:
    chance = np.random.default_rng(5)
    centres = unit(chance.normal(size=(max(rows // 20, 1), DIM)))
    embeddings = unit(
        centres[chance.integers(len(centres), size=rows)] + 0.04 * chance.normal(size=(rows, DIM))
    )
    nearness = embeddings @ centres[0]
    far = np.argsort(np.argsort(nearness)) / rows
    near = np.flatnonzero(far > 0.9)
    wanted = embeddings[chance.choice(near, size=queries)] + 0.02 * chance.normal(size=(queries, DIM))
    return World(embeddings, {"spread": chance.permutation(rows) / rows, "apart": far}, unit(wanted))


def unit(vectors: np.ndarray) -> Embeddings:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def rows_of(world: World, start: int, stop: int) -> list[IndexRow]:
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
    index.create("filters", DIM)
    for start in range(0, len(world.embeddings), 2000):
        index.upsert("filters", rows_of(world, start, min(start + 2000, len(world.embeddings))))
    index.flush("filters")
    wait_for_graph(index, len(world.embeddings))


def wait_for_graph(index: MilvusIndex, rows: int) -> None:
    """Return when all rows are in segments that have their graph: before that a search is exact anyway."""
    while True:
        told = index._call("describe_index", "filters", "embedding")
        if told["state"] == "Finished" and int(told["pending_index_rows"]) == 0:
            return
        print(f"graph of {told['indexed_rows']} of {rows} rows", file=sys.stderr)
        time.sleep(5)


def ask(index: MilvusIndex, world: World, name: str, text: str | None, kept: np.ndarray) -> dict[str, float]:
    """Search one query after another, as shoppers come; compare with the true nearest of what is kept."""
    filter_ = None if text is None else parse(text)
    true = np.argsort(-(world.queries @ world.embeddings[kept].T), axis=1)[:, :K]
    found, spent = 0, []
    index.search("filters", world.queries[:1], K, filter_)
    for query, nearest in zip(world.queries, true, strict=True):
        began = time.perf_counter()
        hits = index.search("filters", query[None], K, filter_)[0]
        spent.append(1000 * (time.perf_counter() - began))
        found += len({hit.product_id for hit in hits} & {f"p{kept[n]}" for n in nearest})
    return {
        f"{name}_recall_at_{K}": round(found / (len(true) * min(K, len(kept))), 4),
        f"{name}_p50_ms": round(float(np.percentile(spent, 50)), 1),
        f"{name}_p95_ms": round(float(np.percentile(spent, 95)), 1),
    }


def measure(kind: str, world: World, folder: Path) -> dict[str, float]:
    milvus = KINDS[kind](folder / kind)
    index = MilvusIndex(milvus.uri, timeout_s=60)
    try:
        milvus.start()
        milvus.wait_ready()
        began = time.perf_counter()
        fill(index, world)
        told = {f"{kind}_fill_s": round(time.perf_counter() - began, 1)}
        everything = np.arange(len(world.embeddings))
        told |= ask(index, world, f"{kind}_unfiltered", None, everything)
        for way, rank in world.ranks.items():
            for share in SHARES:
                kept = np.flatnonzero(np.round(rank, 6) < share)
                text = f"attributes.{way} < {share}"
                told |= ask(index, world, f"{kind}_{way}_{100 * share:g}_percent", text, kept)
                print({k: v for k, v in told.items() if f"{way}_{100 * share:g}_" in k}, file=sys.stderr)
        told |= {f"{kind}_load_average": round(os.getloadavg()[0], 1)}
        return told
    finally:
        index.close()
        milvus.stop()


def main() -> None:
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
    # A run of one kind keeps what another run found of the other.
    path = ROOT / "bench" / "results" / "filters.json"
    results = (json.loads(path.read_text()) if path.exists() else {}) | results
    write_results(path, results)


if __name__ == "__main__":
    main()
