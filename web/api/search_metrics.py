"""What the database knows of all searches, for Prometheus: the same whichever web process is asked."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.searches.metrics import BOUNDS_S, SearchMetricsRepository


class SearchCollector(Collector):
    """Histograms of the stages and the recall of the last probes. Labels are stages and catalogues."""

    def __init__(self, ledger: SearchMetricsRepository) -> None:
        self._ledger = ledger

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        stages = HistogramMetricFamily(
            "vitrine_search_stage_seconds", "Time of searches by stage; total: from asked to answered",
            labels=["stage"],
        )  # fmt: skip
        for stage, known in sorted(self._ledger.histograms().items()):
            ends, so_far = [*(f"{bound:g}" for bound in BOUNDS_S), "+Inf"], 0
            buckets: list[tuple[str, float]] = []
            for end, count in zip(ends, known.counts, strict=True):
                so_far += count
                buckets.append((end, so_far))
            stages.add_metric([stage], buckets=buckets, sum_value=known.total_ms / 1000)
        yield stages
        recall = GaugeMetricFamily(
            "vitrine_search_recall", "Share of the true nearest that searches had, by the last probes",
            labels=["catalogue", "k"],
        )  # fmt: skip
        probes = GaugeMetricFamily(
            "vitrine_search_probes", "Probes from which the recall is told", labels=["catalogue"]
        )
        for each in self._ledger.recall():
            recall.add_metric([each.catalogue, str(each.k)], each.recall)
            probes.add_metric([each.catalogue], each.probes)
        yield recall
        yield probes
