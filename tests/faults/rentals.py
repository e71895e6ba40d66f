"""Callers of the real form: each rents one machine through the Python client, uses it, gives it back, and insists."""

from __future__ import annotations

import contextlib
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gpuplane_client import ApiError, Client, OperationFailed

from controlplane.adapters.prober import probe_public_key
from tests.support.plane import pb

PATIENCE_S = 120.0
GPUS = ("RTX 4090", "RTX 3090", "RTX A6000", "A100 SXM4 80GB", "H100 SXM", "L40S", "A100 PCIe 80GB", "RTX A4000")
_KEY = probe_public_key(b"c" * 32)


class Rentals:
    """So many rentals of each provider, spread over `over_s` seconds; a machine that is not usable within `ready_s`
    is given up. `accepted` holds every operation's id."""

    def __init__(
        self, target: str, key: str, wanted: dict[str, int], over_s: float, ready_s: float, rng: random.Random,
    ) -> None:  # fmt: skip
        self.client = Client(f"http://{target}", key, retry_for=PATIENCE_S, outage=PATIENCE_S)
        self.accepted: list[str] = []
        self.refused: list[str] = []
        self.ended: Counter[str] = Counter()  # how creates ended
        orders = [provider for provider, count in wanted.items() for _ in range(count)]
        rng.shuffle(orders)
        self._plan = [(rng.random() * over_s, provider, rng.random()) for provider in orders]
        self._ready_s = ready_s
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(64)
        self._done = threading.Event()

    def run(self) -> None:
        """All of them; returns when every caller has its answers."""
        began = time.monotonic()
        jobs = []
        for at, provider, chance in sorted(self._plan):
            time.sleep(max(0.0, began + at - time.monotonic()))
            jobs.append(self._pool.submit(self._guarded, provider, chance))
        for job in jobs:
            job.result()
        self._done.set()

    @property
    def running(self) -> bool:
        """Whether a caller still wants something."""
        return not self._done.is_set()

    def close(self) -> None:
        """Hang up."""
        self._pool.shutdown()
        self.client.close()

    def _guarded(self, provider: str, chance: float) -> None:
        try:
            self._rent(provider, chance)
        except Exception as error:
            with self._lock:
                self.refused.append(f"{type(error).__name__}: {error}")

    def _rent(self, provider: str, chance: float) -> None:
        request = pb.CreateInstanceRequest(
            requirements=pb.Requirements(gpu_types=GPUS, providers=[provider]), request_id=uuid.uuid4().hex,
            ssh_public_keys=[_KEY],
        )  # fmt: skip
        operation = self._accept(lambda: self.client.instances.CreateInstance(request))
        how = "SUCCEEDED"
        try:
            self.client.wait(operation, timeout=self._ready_s * chance if chance < 0.1 else self._ready_s)
            time.sleep(2.0 + 10 * chance)
        except OperationFailed as failed:
            how = failed.reason
        except TimeoutError:
            how = "GIVEN_UP"
        with self._lock:
            self.ended[how] += 1
        self.terminate(operation.instance_id)

    def terminate(self, instance_id: str) -> None:
        """Ask for the end of an instance; one that has ended already needs none."""
        request = pb.TerminateInstanceRequest(id=instance_id, request_id=uuid.uuid4().hex)
        self._accept(lambda: self.client.instances.TerminateInstance(request))

    def _accept(self, call: Callable[[], Any]) -> Any:
        """The operation; while no offer matches or a plane is on its way up, asked for again."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(_Later):
                operation = _called(call)
                with self._lock:
                    self.accepted.append(operation.id)
                return operation
            if time.monotonic() > deadline:
                return call()
            time.sleep(0.5)


# The market is empty, or Envoy answers for a plane that was killed: it is as good as unreachable.
_LATER = ("NO_MATCHING_OFFER", "PROVIDER_UNAVAILABLE", "SERVER_STOPPING")


class _Later(Exception):
    """Nothing came of it, and something may."""


def _called(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except ApiError as error:
        if error.unreachable or error.reason in _LATER or not error.reason:
            raise _Later from None
        raise
