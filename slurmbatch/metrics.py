"""What Prometheus may ask: counted as it happens, or read from what is counted already.

A scrape asks Slurm nothing and reads no job: what it reads of the database is a few rows of small
indexes. The only room that knows prometheus_client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_REQUESTS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_CALLS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30)


@dataclass(frozen=True, slots=True)
class Reading:
    """One figure at the time of a scrape, for each of its labels' values."""

    name: str
    about: str
    values: Mapping[tuple[str, ...], float]
    labels: tuple[str, ...] = ()
    counts: bool = False


class Metrics:
    """Thread-safe. `read` is asked at each scrape for what is not counted here."""

    def __init__(self, read: Callable[[], Iterable[Reading]] = tuple) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(_Readings(read))
        self._requests = self._counter("requests", "Requests answered.", "method", "route", "code")
        self._request_seconds = self._histogram(
            "request_seconds", "Until the answer was there, or its first part.", _REQUESTS,
            "method", "route",
        )  # fmt: skip
        self._call_seconds = self._histogram(
            "slurm_call_seconds", "How long Slurm took.", _CALLS, "call"
        )
        self._call_failures = self._counter(
            "slurm_call_failures", "Calls to Slurm that failed, by what came of them.",
            "call", "error",
        )  # fmt: skip
        self._rounds = self._counter(
            "worker_rounds", "Rounds of the submitter and the poller.", "worker", "outcome"
        )
        self._round_seconds = self._counter(
            "worker_round_seconds", "Time spent in these rounds.", "worker"
        )
        self._notifications = self._counter(
            "notifications", "Notifications that were tried, by what came of it.", "outcome"
        )
        for outcome in ("delivered", "failed", "given_up"):
            self._notifications.labels(outcome)  # so that a rule has a 0 to compare with
        self._refused = self._counter(
            "requests_over_limit", "Requests that were refused with 429, by the limit.", "limit"
        )
        # To look a child up by its labels costs more than to count.
        self._answered: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def request(self, method: str, route: str, code: int, seconds: float) -> None:
        """`route` is one of ours, not what the client wrote: there must be few of them."""
        key = (method, route, code)
        found = self._answered.get(key)
        if found is None:
            found = self._answered[key] = (
                self._requests.labels(method, route, str(code)),
                self._request_seconds.labels(method, route),
            )
        found[0].inc()
        found[1].observe(seconds)

    def call(self, name: str, seconds: float, error: BaseException | None) -> None:
        self._call_seconds.labels(name).observe(seconds)
        if error is not None:
            self._call_failures.labels(name, type(error).__name__).inc()

    def round(self, worker: str, seconds: float, failed: bool) -> None:
        self._rounds.labels(worker, "failed" if failed else "done").inc()
        self._round_seconds.labels(worker).inc(seconds)

    def notification(self, outcome: str) -> None:
        self._notifications.labels(outcome).inc()

    def refused(self, limit: str) -> None:
        self._refused.labels(limit).inc()

    def render(self) -> bytes:
        return generate_latest(self._registry)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"slurmbatch_{name}", about, labels, registry=self._registry)

    def _histogram(
        self, name: str, about: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(
            f"slurmbatch_{name}", about, labels, registry=self._registry, buckets=buckets
        )


class _Readings(Collector):
    def __init__(self, read: Callable[[], Iterable[Reading]]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Nothing is known beforehand, and nothing is read to find out."""
        return ()

    def collect(self) -> Iterable[Metric]:
        for each in self._read():
            kind = CounterMetricFamily if each.counts else GaugeMetricFamily
            family = kind(f"slurmbatch_{each.name}", each.about, labels=each.labels)
            for labels, value in each.values.items():
                family.add_metric(labels, value)
            yield family
