"""What Prometheus reads at ``/metrics``."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """Counters of one app, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "mezoroi_request_seconds",
            "Time to answer a request.",
            ("method", "route", "status"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.uploads = Counter(
            "mezoroi_uploads",
            "Uploads by what became of them.",
            ("outcome",),
            registry=self.registry,
        )
        self.queue = Gauge(
            "mezoroi_queue_fruits", "Fruits that wait or are being graded.", registry=self.registry
        )
        self.worker_starts = Counter(
            "mezoroi_worker_starts", "Starts of the grading worker.", registry=self.registry
        )

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
