"""kill -9 of the whole plane at random moments while real machines are being created and ended.

The short form runs in `make test`, 20 kills under 40 machines in `make campaign`.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from typing import Any

import grpc
import pytest

from controlplane.domain.instance import Instance
from controlplane.domain.operation import Operation
from tests.simulation import invariants
from tests.support.disk import read_disk
from tests.support.plane import Plane, pb, running_plane

SEED = 20261122


class Load:
    """Callers that create and end machines, through every crash, each create under one request id."""

    def __init__(self, plane: Plane, machines: int, rng: random.Random) -> None:
        self._plane = plane
        self._keep = {n for n in range(machines) if rng.random() < 0.4}
        self._pauses = [rng.random() * 4 for _ in range(machines)]
        self.accepted: list[str] = []
        self.kept: list[str] = []
        self.refused: list[str] = []
        self.threads = [threading.Thread(target=self._caller, args=(n,), daemon=True) for n in range(machines)]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def join(self) -> None:
        deadline = time.monotonic() + 180
        for thread in self.threads:
            thread.join(max(0.1, deadline - time.monotonic()))
        assert not [t for t in self.threads if t.is_alive()], "callers hang"

    def _caller(self, number: int) -> None:
        time.sleep(self._pauses[number])
        request_id = uuid.uuid4().hex
        create = self._insist(lambda: self._plane.create(name=f"m{number}", request_id=request_id, disk_gb=1))
        self.accepted.append(create.id)
        time.sleep(self._pauses[-number])
        if number in self._keep:
            self.kept.append(create.instance_id)
            return
        request = pb.TerminateInstanceRequest(id=create.instance_id, force=number % 2 == 0, request_id=uuid.uuid4().hex)
        self.accepted.append(self._insist(lambda: self._plane.me.instances.TerminateInstance(request)).id)

    def _insist(self, call: Any) -> Any:
        """Until there is an answer: a dead plane gives none."""
        while True:
            try:
                return call()
            except grpc.RpcError as error:
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    self.refused.append(str(error.details()))
                    raise
            except (OSError, ValueError):
                pass  # between two lives there is no address to call
            time.sleep(0.1)


def kill_under_load(kills: int, machines: int, seed: int) -> None:
    rng = random.Random(seed)
    with running_plane(meter_interval=0.5, hold_window=1, sweep_interval=2, stop_grace=3) as plane:
        load = Load(plane, machines, rng)
        load.start()
        for _ in range(kills):
            time.sleep(rng.random() * 1.5)
            plane.kill9(envoy=True)
            time.sleep(rng.random() * 0.3)
            plane.start()
        load.join()
        assert not load.refused
        _at_rest(plane, load)
        live = {row.id: row for row in _instances(plane) if row.state == pb.INSTANCE_STATE_RUNNING}
        assert set(live) == set(load.kept)
        # What runs on the host is what the rows say, and nothing else.
        ids = {label.rsplit("-", 2)[1] for label in plane.machines()}
        assert ids == {id.removeprefix("inst_") for id in live}
        for id in live:
            load.accepted.append(plane.terminate(id).id)
        _at_rest(plane, load)
        time.sleep(3)  # a sweep
        plane.stop()
        assert plane.leftovers() == []
        _judge(plane, load.accepted)


def _instances(plane: Plane) -> list[Any]:
    return list(plane.me.instances.ListInstances(pb.ListInstancesRequest(page_size=1000)).instances)


def _at_rest(plane: Plane, load: Load) -> None:
    """Every accepted operation ends."""
    for id in load.accepted:
        done = plane.wait(id, timeout_s=60)
        assert done.state in (
            pb.OPERATION_STATE_SUCCEEDED, pb.OPERATION_STATE_CANCELLED,
        ), f"{id} ended as {done.state}: {done.error.message}"  # fmt: skip


def _judge(plane: Plane, accepted: list[str]) -> None:
    disk = read_disk(plane.state / "gpuplane.db")
    assert len(disk.table(Operation)) == len(accepted)
    assert len(disk.table(Instance)) == len({disk.table(Operation)[id].instance_id for id in accepted})
    for check in (
        invariants.no_lost_operation,
        invariants.no_double_machine,
        invariants.events_tell_all,
        invariants.ledgers_equal_events,
        invariants.outcomes_agree,
    ):
        assert list(check(disk, [], accepted)) == []


def test_four_kills() -> None:
    kill_under_load(kills=4, machines=12, seed=SEED)


@pytest.mark.slow
def test_twenty_kills_under_forty_machines() -> None:
    kill_under_load(kills=20, machines=40, seed=SEED + 1)
