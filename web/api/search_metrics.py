"""Export search metrics from the database to Prometheus, identical in every web process."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.searches.metrics import BOUNDS_S, SearchMetricsRepository


class SearchCollector(Collector):
    """Collects histograms by stage, and recall and number of the last probes by catalogue and k."""

    def __init__(self, repository: SearchMetricsRepository) -> None:
        self._repository = repository

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        stages = HistogramMetricFamily(
            "vitrine_search_stage_seconds", "Time of searches by stage; total: from request to answer",
            labels=["stage"],
        )  # fmt: skip
        for stage, histogram in sorted(self._repository.histograms().items()):
            bounds, cumulative = [*(f"{bound:g}" for bound in BOUNDS_S), "+Inf"], 0
            buckets: list[tuple[str, float]] = []
            for end, count in zip(bounds, histogram.counts, strict=True):
                cumulative += count
                buckets.append((end, cumulative))
            stages.add_metric([stage], buckets=buckets, sum_value=histogram.total_ms / 1000)
        yield stages
        recall = GaugeMetricFamily(
            "vitrine_search_recall", "Share of the true nearest neighbours found, in the last probes",
            labels=["catalogue", "k"],
        )  # fmt: skip
        probes = GaugeMetricFamily(
            "vitrine_search_probes", "Number of probes behind the recall", labels=["catalogue"]
        )
        for each in self._repository.recall():
            recall.add_metric([each.catalogue, str(each.k)], each.recall)
            probes.add_metric([each.catalogue], each.probes)
        yield recall
        yield probes
