"""What is told of searches: stages, histograms, and the recall that probes find."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import delete, select, update

from cli.commands.status import format_search_metrics
from shared.contracts import ProductIn
from shared.database import Database
from shared.database.bulk import insert_rows
from shared.database.clock import now_s
from shared.database.tables import Probe, ProbeQuery, Product, Timing
from shared.searches.metrics import BOUNDS_S, SearchMetricsRepository, bucket_of, percentile
from tests.packing import pictures
from tests.shop import Shop, found
from tests.web_builders import open_shop
from worker.maintenance.probing import Prober
from worker.search.probe_recorder import ProbeRecorder

pytestmark = pytest.mark.slow

BOTH = pytest.mark.parametrize("shop", ["sqlite", "postgresql"], indirect=True)


def write_timings(database: Database, stages: Sequence[dict[str, float]], ago_s: float = 60.0) -> None:
    rows = [{"finished_at": now_s() - ago_s, "stages": each, "counted": False} for each in stages]
    with database.write() as session:
        insert_rows(session, Timing, rows)


def ask(shop: Shop, *numbers: int, share: float = 1.0, **options: Any) -> list[str]:
    """Search with pictures of products, of which ``share`` is probed; return the first answer's products."""
    answers = []
    for number in numbers:
        notes = ProbeRecorder(shop.worker.database, share, random.Random(number))
        object.__setattr__(
            shop, "worker", replace(shop.worker, search=replace(shop.worker.search, probes=notes))
        )
        answers.append(shop.search(pictures(1, number)[f"p{number}.jpg"], **options))
    return found(answers[0])


def settle(shop: Shop) -> None:
    """As if all products had been written a minute ago."""
    with shop.worker.database.write() as session:
        session.execute(update(Product).values(updated_at=Product.updated_at - 60))


def probes(shop: Shop, most_rows: int = 10**6) -> list[float]:
    prober = Prober(shop.worker.database, most_rows)
    while prober.probe_one():
        pass
    with shop.worker.database.write() as session:
        shares = list(session.scalars(select(Probe.recall).order_by(Probe.id)))
        session.execute(delete(Probe))
        assert not session.scalars(select(ProbeQuery)).all()
    return shares


@pytest.mark.parametrize("shop", ["sqlite", "postgresql", "milvus"], indirect=True)
def test_searches_leave_their_stages_and_probes_find_them_complete(shop: Shop) -> None:
    shop.import_files(dict(pictures(30)))
    settle(shop)
    ask(shop, 3, 4, 5)
    ask(shop, 6, top_k=3)
    ledger = SearchMetricsRepository(shop.worker.database)
    signals = ledger.read_metrics()
    assert (signals.searches, sum(signals.per_minute), len(signals.per_minute)) == (4, 4, 60)
    assert {"wait", "decode", "embed", "search", "hydrate", "total"} <= set(signals.stages_ms)
    for figures in signals.stages_ms.values():
        assert figures.count == 4
        assert 0 <= figures.p50 <= figures.p95 <= figures.p99
    assert probes(shop) == [1.0, 1.0, 1.0, 1.0]
    assert ledger.count() == 4
    assert sum(ledger.histograms()["search"].counts) == 4


def test_a_row_that_the_index_lost_is_told(shop: Shop) -> None:
    shop.import_files(dict(pictures(30)))
    settle(shop)
    nearest = ask(shop, 3, top_k=3, share=0.0)
    live = shop.catalogue.get("shop").index_version
    assert live is not None
    keys = [f"{image.image_id}-0" for p in nearest for image in shop.catalogue.product("shop", p).images]
    shop.worker.index.delete(live, keys)
    assert shop.rows() == 27
    ask(shop, 3)
    (recall,) = probes(shop)
    assert recall == pytest.approx(0.7, abs=0.11), "three of the ten nearest are lost"


def test_what_was_written_after_a_search_is_not_held_against_it(shop: Shop) -> None:
    shop.import_files(dict(pictures(12)))
    settle(shop)
    photo = pictures(1, 3)["p3.jpg"]
    ask(shop, 3)
    shop.put("late", ProductIn(), [photo])
    assert probes(shop) == [1.0]
    ask(shop, 3)
    with shop.worker.database.write() as session:
        # Control: the same product, had it been there before and not been found.
        session.execute(update(Product).where(Product.product_id == "late").values(updated_at=0.0))
        keys = session.scalars(select(ProbeQuery.keys)).one()
        late = [image.image_id for image in shop.catalogue.product("shop", "late").images]
        kept = [key for key in keys if key.rpartition("-")[0] not in late]
        session.execute(update(ProbeQuery).values(keys=kept))
    (recall,) = probes(shop)
    assert recall < 1


def test_filters_hold_for_the_exact_answer_too(shop: Shop) -> None:
    rows = [
        "product_id,image,category",
        *(f"p{n},p{n}.jpg,{'even' if n % 2 == 0 else 'odd'}" for n in range(24)),
    ]
    shop.import_files({"products.csv": "\n".join(rows), **pictures(24)})
    settle(shop)
    assert set(ask(shop, 3, filter='category = "even"')) <= {f"p{n}" for n in range(0, 24, 2)}
    assert probes(shop) == [1.0]
    ask(shop, 3, filter='category = "even"')
    with shop.worker.database.write() as session:
        session.execute(update(ProbeQuery).values(filter=None))
    (recall,) = probes(shop)
    assert recall < 1, "control: without the filter other products are nearer"


def test_few_are_probed_and_never_too_much(shop: Shop) -> None:
    shop.import_files(dict(pictures(12)))
    settle(shop)
    ask(shop, 3, share=0.0)
    assert probes(shop) == [], "none is wanted"
    notes = ProbeRecorder(shop.worker.database, 1.0)
    shop.worker = replace(shop.worker, search=replace(shop.worker.search, probes=notes))
    for _ in range(3):
        result = shop.search(pictures(1)["p0.jpg"], top_k=3)
    assert result.whole.next is not None
    assert probes(shop) == [1.0], "the others came too soon after it"
    ask(shop, 3)
    assert probes(shop, most_rows=11) == [], "there are too many rows"
    ask(shop, 3)
    assert probes(shop, most_rows=12) == [1.0]


def test_a_probe_that_cannot_be_noted_harms_nothing() -> None:
    query = SimpleNamespace(
        page=None, filter=None, claim=SimpleNamespace(catalogue_id=1), live=SimpleNamespace(id=1)
    )
    answer: Any = SimpleNamespace(query=query, embedded=SimpleNamespace(embeddings=[[0.0]]), hits=[[]])

    nowhere = Database("postgresql+psycopg://nobody@127.0.0.1:1/none")
    ProbeRecorder(nowhere, 1.0).note([answer])


def test_percentiles_and_buckets() -> None:
    hundred = [float(n) for n in range(1, 101)]
    assert [percentile(hundred, share) for share in (0.5, 0.95, 0.99)] == [50, 95, 99]
    assert percentile([7.0], 0.99) == 7
    assert [bucket_of(ms) for ms in (0.0, 1.0, 1.1, 10_000.0, 10_001.0)] == [0, 0, 1, 12, len(BOUNDS_S)]


def test_figures_are_of_the_last_hour(database: Database) -> None:
    ledger = SearchMetricsRepository(database)
    write_timings(database, [{"search": float(n)} for n in range(1, 101)])
    write_timings(database, [{"search": 1e6}] * 50, ago_s=3700)
    write_timings(database, [{"search": 3.0, "decode": 2.0}], ago_s=-0.2)  # a clock that is ahead
    signals = ledger.read_metrics()
    assert (signals.searches, signals.per_minute[-1]) == (101, 1)
    assert signals.stages_ms["search"].p99 == 99
    assert signals.stages_ms["decode"].count == 1
    lines = format_search_metrics(signals.model_dump(mode="json"))
    assert lines[0] == "searches in the last hour: 101"
    assert any(line.startswith("  search: p50 ") for line in lines)


def test_a_histogram_only_grows_and_counts_once(database: Database) -> None:
    ledger = SearchMetricsRepository(database)
    write_timings(database, [{"search": 4.0}, {"search": 40.0}])
    write_timings(database, [{"search": 40_000.0}], ago_s=3 * 3600)
    assert [ledger.count(), ledger.count()] == [3, 0]
    counts = ledger.histograms()["search"].counts
    assert (counts[bucket_of(4)], counts[bucket_of(40)], counts[-1], sum(counts)) == (1, 1, 1, 3)
    assert ledger.delete_expired() == 1, "what is older than two hours"
    write_timings(database, [{"search": 4.0}])
    assert ledger.count() == 1
    found = ledger.histograms()["search"]
    assert (sum(found.counts), found.total_ms) == (4, pytest.approx(40_048.0))


def test_every_web_process_tells_the_same(tmp_path: Path) -> None:
    one, other = (open_shop(tmp_path / "shop") for _ in range(2))
    write_timings(one.parts.database, [{"search": 4.0, "total": 9.0}, {"search": 40.0, "total": 90.0}])
    SearchMetricsRepository(one.parts.database).count()
    status = [shop.client.get("/v1/status").json["searches"] for shop in (one, other)]
    assert status[0] == status[1]
    assert status[0]["stages_ms"]["search"] == {"count": 2, "p50": 4.0, "p95": 40.0, "p99": 40.0}
    texts = [shop.client.get("/metrics").text for shop in (one, other)]
    told = [
        {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.startswith("vitrine_search_stage")
        }
        for text in texts
    ]
    assert told[0] == told[1]
    assert told[0]["vitrine_search_stage_seconds_count", ("stage", "search")] == 2
    assert told[0]["vitrine_search_stage_seconds_bucket", ("le", "0.005"), ("stage", "search")] == 1
    assert told[0]["vitrine_search_stage_seconds_sum", ("stage", "total")] == pytest.approx(0.099)
