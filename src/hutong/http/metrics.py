"""Prometheus metrics. A label says what was asked for and how it ended, never who asked or about what.

Served on a listener of its own, so that it need not be reachable from where the clients are.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, GCCollector, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from hutong.http.admission import Admission
from hutong.http.request import Request, Response

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
METHODS = frozenset({"GET", "PUT", "POST", "DELETE", "OPTIONS"})


class _Gauge(Collector):
    def __init__(self, name: str, what: str, read: Callable[[], float]) -> None:
        self._name, self._what, self._read = name, what, read

    def collect(self) -> list[Metric]:
        family = Metric(self._name, self._what, "gauge")
        family.add_sample(self._name, {}, self._read())
        return [family]


class _AdmissionFigures(Collector):
    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def collect(self) -> list[Metric]:
        at_work = Metric("hutong_requests_at_work", "Requests being answered, waiting syncs left out.", "gauge")
        most = Metric("hutong_requests_at_work_max", "How many may be answered at once, at the moment.", "gauge")
        for kind, count in self._admission.at_work().items():
            at_work.add_sample(at_work.name, {"kind": kind}, count)
            most.add_sample(most.name, {"kind": kind}, self._admission.limit(kind))
        refused = Metric("hutong_requests_refused", "Requests refused because of overload.", "counter")
        for (kind, reason), count in self._admission.refused.items():
            refused.add_sample("hutong_requests_refused_total", {"kind": kind, "reason": reason}, count)
        return [at_work, most, refused]


class Metrics:
    """The metrics of one node. Other parts register theirs in `registry`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._requests = Histogram(
            "hutong_http_request_seconds",
            "Time from a request to its answer, waiting of long polls included.",
            ("route", "method", "status", "region"),
            registry=self.registry,
            buckets=SECONDS,
        )
        self._known: dict[tuple[str, str, int, str], Histogram] = {}

    def observe(self, route: str, method: str, status: int, region: str, seconds: float) -> None:
        """Count one answer. Cost: about 1 µs."""
        key = (route, method, status // 100, region)
        series = self._known.get(key)
        if series is None:
            told = method if method in METHODS else "other"
            series = self._known[key] = self._requests.labels(route, told, f"{status // 100}xx", region)
        series.observe(seconds)

    def gauge(self, name: str, what: str, read: Callable[[], float]) -> None:
        """Show what `read` returns whenever Prometheus asks."""
        self.registry.register(_Gauge(name, what, read))

    def follow(self, admission: Admission) -> None:
        """Show what is at work and what is refused."""
        self.registry.register(_AdmissionFigures(admission))
        self.gauge(
            "hutong_loop_lag_seconds", "The latest that the event loop was, a moment ago.", lambda: admission.lag_s
        )

    def text(self) -> bytes:
        return generate_latest(self.registry)


class MetricsEndpoint:
    auth = False

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def on_get(self, req: Request, resp: Response) -> None:
        resp.content_type = CONTENT_TYPE_LATEST
        resp.data = self._metrics.text()


def routes(metrics: Metrics) -> list[tuple[str, object]]:
    return [("/metrics", MetricsEndpoint(metrics))]
