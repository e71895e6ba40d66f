"""Every metric of a process, made once by bootstrap and handed to who counts.

Names that begin with `gpu_` are those that GPU Shopper documents; dashboards built for it keep working.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from controlplane.ports.meter import Count, Timing

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SLOW = (1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class RpcMeter:
    """Counts of one rpc. Label look-ups are kept: they cost more than counting."""

    __slots__ = ("_counter", "_counts", "_label", "_observe", "closed", "opened")

    def __init__(self, metrics: Metrics, label: str) -> None:
        self._label = label
        self._counter = metrics.rpcs
        self._counts = {"OK": metrics.rpcs.labels(label, "OK").inc}
        self._observe = metrics.rpc_seconds.labels(label).observe
        streams = metrics.streams_open.labels(label)
        self.opened = streams.inc
        self.closed = streams.dec

    def count(self, code: str) -> None:
        """Count a call by its code."""
        inc = self._counts.get(code)
        if inc is None:
            inc = self._counts[code] = self._counter.labels(self._label, code).inc
        inc()

    def done(self, code: str, seconds: float) -> None:
        """Count a call and how long it took."""
        self.count(code)
        self._observe(seconds)


class Metrics:
    """The metrics and the registry that holds them."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self.registry = registry
        self._rpc_meters: dict[str, RpcMeter] = {}

        # The API.
        self.rpcs = Counter(
            "gpuplane_rpcs_total", "Calls ended, by method and code.", ("method", "code"), registry=registry
        )
        self.rpc_seconds = Histogram(
            "gpuplane_rpc_seconds", "Duration of unary calls.", ("method",), buckets=_FAST, registry=registry
        )
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
            "gpu_sessions_active", "Machines by provider and state.", ("provider", "status"), registry=registry
        )
        self.destroy_age = Gauge(
            "gpuplane_destroy_age_seconds", "Age of the oldest end that is not confirmed.", ("provider",),
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
            meter = self._rpc_meters[label] = RpcMeter(self, label)
        return meter

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        text: bytes = generate_latest(self.registry)
        return text
