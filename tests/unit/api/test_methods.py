import pytest
from gpuplane.v1 import operation_service_pb2

from controlplane.api.methods import methods_of, snake_case


@pytest.mark.parametrize(
    ("name", "handler"),
    [
        ("GetInstance", "get_instance"),
        ("CreateSshKey", "create_ssh_key"),
        ("ListGpuTypes", "list_gpu_types"),
        ("GetGPUTypes", "get_gpu_types"),
        ("ListV2Models", "list_v2_models"),
    ],
)
def test_handlers_are_named_after_rpcs(name, handler):
    assert snake_case(name) == handler


def test_methods_come_from_the_descriptor():
    methods = {method.handler: method for method in methods_of("gpuplane.v1.Operations")}
    watch = methods["watch_operation"]
    assert watch.path == "/gpuplane.v1.Operations/WatchOperation"
    assert watch.label == "gpuplane.v1.Operations/WatchOperation"
    assert watch.request is operation_service_pb2.WatchOperationRequest
    assert watch.response is operation_service_pb2.OperationEvent
    assert (watch.client_streaming, watch.server_streaming) == (False, True)
    assert not methods["get_operation"].server_streaming


def test_an_unknown_service_is_an_error():
    with pytest.raises(KeyError):
        methods_of("gpuplane.v1.Nothing")
