"""Python client of gpuplane: generated stubs, plus the few things that every caller would otherwise write
again.

    from gpuplane_client import Client

    client = Client.from_environment()
    operation = client.instances.CreateInstance(CreateInstanceRequest(...))
    client.wait(operation)

What it adds to the stubs: the bearer key, a deadline on every call, retries of calls that are safe to
repeat, a request id on every create (so that a repeated create never rents twice), typed errors, waiting,
watching, paging.
"""

from gpuplane_client.aio import AsyncClient
from gpuplane_client.client import Client
from gpuplane_client.config import Config, discover
from gpuplane_client.errors import ApiError, OperationFailed

__all__ = ["ApiError", "AsyncClient", "Client", "Config", "OperationFailed", "discover"]
