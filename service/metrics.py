"""What /metrics tells Prometheus: counts that requests leave, and what the service is like when it is asked."""

from collections.abc import Iterable, Mapping
from typing import Protocol, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from service.lifecycle import Lifecycle
from service.media.job_folder import JobState
from service.media.jobs import Jobs

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")


class Metrics:
    """One registry an application. Labels hold routes and stages, never a path: there are ids in paths."""

    def __init__(self, state: Collector) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(state)
        self._requests = Counter(
            "landmarkgan_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "landmarkgan_request_seconds", "From a request's head to its answer's end.", ["route"], buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self._stages = Histogram(
            "landmarkgan_stage_seconds", "Stages of a picture: decode, queue, detect, convert, synthesize, encode.",
            ["stage"], buckets=SECONDS, registry=self.registry,
        )  # fmt: skip

    def count_request(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """One answer; `route` is its pattern, None where nothing is there."""
        self._requests.labels(method if method in METHODS else "other", route or "none", str(status)).inc()
        self._seconds.labels(route or "none").observe(seconds)

    def observe_stages(self, stages: Mapping[str, float]) -> None:
        """One picture's stages, in seconds."""
        for stage, seconds in stages.items():
            self._stages.labels(stage).observe(seconds)

    def write(self) -> bytes:
        """The page in Prometheus's text format."""
        return generate_latest(self.registry)


class OpenStreams(Protocol):
    """What counts the streams."""

    open: int


class StateCollector(Collector):
    """Read when it is asked for, so that nothing must be kept up to date."""

    def __init__(self, lifecycle: Lifecycle, jobs: Jobs, streams: OpenStreams) -> None:
        self.lifecycle, self.jobs, self.streams = lifecycle, jobs, streams

    def collect(self) -> Iterable[Metric]:
        """The gauges."""
        yield GaugeMetricFamily("landmarkgan_streams_open", "Streams open.", self.streams.open)
        jobs = GaugeMetricFamily("landmarkgan_jobs", "Video jobs there are, ended ones included.", labels=["state"])
        states = self.jobs.count_states()
        for state in get_args(JobState):
            jobs.add_metric([state], states[state])
        yield jobs
        face_service = self.lifecycle.face_service
        if face_service is None:
            return
        engine = face_service.engine
        yield GaugeMetricFamily("landmarkgan_queue_requests", "Requests in work or waiting.", engine.admitted)
        yield GaugeMetricFamily("landmarkgan_queue_capacity", "Requests that may be there at once.", engine.capacity)
        batches = CounterMetricFamily("landmarkgan_batches", "Batches run.", labels=["size"])
        for size, count in sorted(engine.batch_sizes.items()):
            batches.add_metric([str(size)], count)
        yield batches
        targets = InfoMetricFamily(
            "landmarkgan_target", "Targets served, and the hash of each one's bundle.", labels=["target"]
        )
        for name, target in face_service.catalogue.targets.items():
            targets.add_metric([name], {"bundle": target.bundle})
        yield targets
        damaged = len(face_service.catalogue.damaged)
        yield GaugeMetricFamily("landmarkgan_targets_damaged", "Bundles refused.", damaged)
