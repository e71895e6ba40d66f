"""Rent the cheapest machine for five minutes, watch it come up, give it back.

gpuplane up                          # one terminal
python clients/python/example.py     # another; GPUPLANE_ENDPOINT and GPUPLANE_KEY name another server
"""

import sys

from google.protobuf.duration_pb2 import Duration
from gpuplane.v1.instance_pb2 import InstanceState
from gpuplane.v1.instance_service_pb2 import CreateInstanceRequest, TerminateInstanceRequest
from gpuplane.v1.offer_service_pb2 import ListOffersRequest
from gpuplane.v1.operation_pb2 import Operation
from gpuplane_client import ApiError, Client, OperationFailed


def show(operation: Operation) -> None:
    steps = ", ".join(step.name for step in operation.steps)
    print(f"  ... {steps or 'accepted'}; {len(operation.attempts)} attempt(s)")


def main(client: Client) -> None:
    for offer in client.list_all(client.offers.ListOffers, ListOffersRequest(), limit=3):
        print(f"offer {offer.id}: {offer.gpu_count or ''} {offer.gpu_type}")

    operation = client.instances.CreateInstance(
        CreateInstanceRequest(name="example", requirements={"gpu_types": ["cpu"]}, reservation=Duration(seconds=300))
    )
    try:
        client.wait(operation, on_progress=show, timeout=120)
        print(f"{operation.instance_id} is running")
    finally:
        ending = client.instances.TerminateInstance(TerminateInstanceRequest(id=operation.instance_id))
        client.wait(ending, timeout=120)

    for event in client.watch_instance(operation.instance_id):
        print(f"it is {InstanceState.Name(event.instance.state)}")


if __name__ == "__main__":
    try:
        with Client.from_environment() as client:
            main(client)
    except (ApiError, OperationFailed, TimeoutError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
