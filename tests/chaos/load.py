"""Callers that create and end machines at a steady rate and insist on every answer, each call under one request id."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from tests.support.market_provider import OFFER
from tests.support.plane import Caller, pb

MOST_LIVE = 40
REST_S = 0.5  # the least that a machine is left alone before its end is asked for
CALL_S = 3.0
PATIENCE_S = 120.0
UNANSWERED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class Load:
    """From `start` to `stop`. `accepted` holds the ids of all operations that a caller was given."""

    def __init__(self, target: str, key: str, per_second: float, rng: random.Random) -> None:
        options = [("grpc.max_reconnect_backoff_ms", 300), ("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.insecure_channel(target, options=options)
        self.me = Caller(lambda: self._channel, key)
        self._pause = 1 / per_second
        self._rng = rng
        self._pool = ThreadPoolExecutor(48)
        self._live: list[tuple[float, str]] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.accepted: list[str] = []
        self.refused: list[str] = []
        self.retries = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """No new calls; returns once every caller has its answer."""
        self._stopping.set()
        self._thread.join()
        self._pool.shutdown()

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def _run(self) -> None:
        while not self._stopping.wait(self._pause):
            old = [item for item in self._live if item[0] < time.monotonic() - REST_S]
            if old and (len(self._live) > MOST_LIVE or self._rng.random() < 0.5):
                chosen = self._rng.choice(old)
                self._live.remove(chosen)
                self._pool.submit(self._guarded, self.terminate, chosen[1])
            else:
                self._pool.submit(self._guarded, self._create)

    def _guarded(self, call: Callable[..., None], *args: str) -> None:
        try:
            call(*args)
        except Exception as error:
            self.refused.append(f"{type(error).__name__}: {error}")

    def _create(self) -> None:
        request = pb.CreateInstanceRequest(offer_id=OFFER, disk_gb=1, request_id=uuid.uuid4().hex)
        operation = self.insist(lambda: self.me.instances.CreateInstance(request, timeout=CALL_S))
        self.accepted.append(operation.id)
        self._live.append((time.monotonic(), operation.instance_id))

    def terminate(self, id: str) -> None:
        """Ask for the end of an instance."""
        request = pb.TerminateInstanceRequest(id=id, request_id=uuid.uuid4().hex)
        operation = self.insist(lambda: self.me.instances.TerminateInstance(request, timeout=CALL_S))
        self.accepted.append(operation.id)

    def insist(self, call: Callable[[], Any]) -> Any:
        """Until there is an answer: a dead plane gives none."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return call()
            except grpc.RpcError as error:
                # A stream that a killed Envoy reset is INTERNAL to gRPC.
                cut = error.code() is grpc.StatusCode.INTERNAL and "RST_STREAM" in (error.details() or "")
                if not (cut or error.code() in UNANSWERED) or time.monotonic() > deadline:
                    raise
            self.retries += 1
            time.sleep(0.1)
