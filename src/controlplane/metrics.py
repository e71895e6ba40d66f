"""Every metric of a process, made once by bootstrap and handed to who counts.

Names that begin with `gpu_` are those that GPU Shopper documents; dashboards built for it keep working.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from controlplane.ports.meter import Count, Timing

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SLOW = (1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class RpcMeter:
    """Counts of one rpc, as plain numbers: the library's objects lock, and cost a call more than all of its limits.

    Used on the loop's thread only; a scrape from another one may see a call counted and not yet timed.
    """

    __slots__ = ("buckets", "closed", "counts", "opened", "seconds")

    def __init__(self, streams: Gauge) -> None:
        self.counts = {"OK": 0}
        self.buckets = [0] * (len(_FAST) + 1)
        self.seconds = 0.0
        self.opened = streams.inc
        self.closed = streams.dec

    def count(self, code: str) -> None:
        """Count a call by its code."""
        self.counts[code] = self.counts.get(code, 0) + 1

    def done(self, code: str, seconds: float) -> None:
        """Count a call and how long it took."""
        self.counts[code] = self.counts.get(code, 0) + 1
        self.buckets[bisect_left(_FAST, seconds)] += 1
        self.seconds += seconds


class _RpcCollector(Collector):
    """Shows the meters at a scrape."""

    def __init__(self, meters: dict[str, RpcMeter]) -> None:
        self._meters = meters

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        calls = CounterMetricFamily("gpuplane_rpcs", "Calls ended, by method and code.", labels=("method", "code"))
        times = HistogramMetricFamily("gpuplane_rpc_seconds", "Duration of unary calls.", labels=("method",))
        for label, meter in list(self._meters.items()):
            for code, count in list(meter.counts.items()):
                calls.add_metric((label, code), count)
            sums = zip((*map(str, _FAST), "+Inf"), accumulate(meter.buckets), strict=True)
            times.add_metric((label,), list(sums), meter.seconds)
        yield calls
        yield times


class Metrics:
    """The metrics and the registry that holds them."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self.registry = registry
        self._rpc_meters: dict[str, RpcMeter] = {}

        # The API.
        registry.register(_RpcCollector(self._rpc_meters))
        self.streams_open = Gauge("gpuplane_streams_open", "Open streams.", ("method",), registry=registry)

        # The process and its store.
        self.loop_lag = Gauge(
            "gpuplane_loop_lag_seconds", "How late the event loop was at the last probe.", registry=registry
        )
        self.loop_lag_max = Gauge(
            "gpuplane_loop_lag_max_seconds", "The worst lag of the last minute.", registry=registry
        )
        self.commit_seconds = Histogram(
            "gpuplane_commit_seconds", "Duration of batch commits.", buckets=_FAST, registry=registry
        )
        self.commit_units = Histogram(
            "gpuplane_commit_units", "Units of work in one commit.", buckets=_SIZES, registry=registry
        )

        # The core: what ports/meter.py names.
        self._counts = {
            Count.STEPS: Counter(
                "gpuplane_reconcile_steps_total", "Looks at instances, by state and outcome.", ("state", "outcome"),
                registry=registry,
            ),
            Count.ORPHANS: Counter(
                "gpu_orphans_detected_total", "Destroys of machines that no row claimed.", registry=registry
            ),
            Count.GHOSTS: Counter("gpu_ghosts_detected_total", "Rows whose machine was gone.", registry=registry),
            Count.DESTROY_FAILURES: Counter(
                "gpu_destroy_failures_total", "Destroys that the provider did not answer.", registry=registry
            ),
            Count.SSH_VERIFY_FAILURES: Counter(
                "gpu_ssh_verify_failures_total", "Machines that never took the probe's login.", registry=registry
            ),
            Count.PROVIDER_ERRORS: Counter(
                "gpu_provider_api_errors_total", "Failed calls to providers.", ("provider", "operation"),
                registry=registry,
            ),
            Count.MARKETPLACE_ANSWERS: Counter(
                "gpuplane_marketplace_answers_total", "Answers of marketplaces to single HTTP requests.",
                ("provider", "call", "answer"), registry=registry,
            ),
            Count.WEBHOOK_ATTEMPTS: Counter(
                "gpuplane_webhook_attempts_total", "Posts to webhook receivers, by outcome.", ("outcome",),
                registry=registry,
            ),
            Count.WEBHOOK_GAPS: Counter(
                "gpuplane_webhook_gaps_total", "Times the event log was trimmed before webhooks had read it.",
                registry=registry,
            ),
        }  # fmt: skip
        self._timings = {
            Timing.PROVISIONING: Histogram(
                "gpu_provisioning_duration_seconds", "From acceptance to RUNNING.", ("provider",), buckets=_SLOW,
                registry=registry,
            ),
            Timing.SSH_VERIFY: Histogram(
                "gpu_ssh_verify_duration_seconds", "From a machine's creation to the first login.", buckets=_SLOW,
                registry=registry,
            ),
            Timing.PROVIDER_CALL: Histogram(
                "gpu_provider_api_response_time_seconds", "Duration of calls to providers.", ("provider", "operation"),
                buckets=_FAST, registry=registry,
            ),
        }  # fmt: skip
        self.sessions_active = Gauge(
            "gpu_sessions_active",
            "Machines by provider and GPU Shopper's word for their state.",
            ("provider", "status"),
            registry=registry,
        )
        self.destroy_age = Gauge(
            "gpuplane_destroy_age_seconds", "Age of the oldest end that is not confirmed.", ("provider",),
            registry=registry,
        )  # fmt: skip
        self.provider_up = Gauge(
            "gpuplane_provider_up", "Whether the last sweep of a provider was answered.", ("provider",),
            registry=registry,
        )  # fmt: skip
        self.orphans_now = Gauge(
            "gpuplane_orphans", "Machines of ours that no row claims, at the last sweep.", ("provider",),
            registry=registry,
        )  # fmt: skip
        self.foreign_now = Gauge(
            "gpuplane_foreign_machines", "Machines with our label that this database never made, at the last sweep.",
            ("provider",), registry=registry,
        )  # fmt: skip

    def count(self, what: Count, *labels: str) -> None:
        """See ports.meter.Meter."""
        counter = self._counts[what]
        (counter.labels(*labels) if labels else counter).inc()

    def observe(self, what: Timing, seconds: float, *labels: str) -> None:
        """See ports.meter.Meter."""
        histogram = self._timings[what]
        (histogram.labels(*labels) if labels else histogram).observe(seconds)

    def committed(self, units: int, seconds: float) -> None:
        """One batch was committed."""
        self.commit_units.observe(units)
        self.commit_seconds.observe(seconds)

    def rpc(self, label: str) -> RpcMeter:
        """The meter of one rpc, made once."""
        meter = self._rpc_meters.get(label)
        if meter is None:
            meter = self._rpc_meters[label] = RpcMeter(self.streams_open.labels(label))
        return meter

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        text: bytes = generate_latest(self.registry)
        return text
