from controlplane.metrics import Metrics
from controlplane.ports.meter import Count


def test_calls_by_method_and_code():
    metrics = Metrics()
    meter = metrics.rpc("a.B/C")
    meter.done("OK", 0.02)
    meter.count("NOT_FOUND")
    assert metrics.rpc("a.B/C") is meter
    value = metrics.registry.get_sample_value
    assert value("gpuplane_rpcs_total", {"method": "a.B/C", "code": "OK"}) == 1
    assert value("gpuplane_rpcs_total", {"method": "a.B/C", "code": "NOT_FOUND"}) == 1
    assert value("gpuplane_rpc_seconds_count", {"method": "a.B/C"}) == 1


def test_two_planes_in_one_process_do_not_share():
    first, second = Metrics(), Metrics()
    first.count(Count.ORPHANS)
    assert second.registry.get_sample_value("gpu_orphans_detected_total") == 0


def test_documented_names_are_exposed():
    text = Metrics().exposition().decode()
    for name in (
        "gpu_sessions_active",
        "gpu_orphans_detected_total",
        "gpu_destroy_failures_total",
        "gpu_ssh_verify_duration_seconds",
        "gpu_ssh_verify_failures_total",
        "gpu_provider_api_errors_total",
    ):
        assert f"# TYPE {name} " in text
