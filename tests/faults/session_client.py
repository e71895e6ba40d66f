"""A real plane before a real simulator of Vast.ai, and a client of the shopper's API on its own port."""

from __future__ import annotations

import contextlib
import http.client
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.e2e.local_plane import free_port
from tests.faults.real import SETTINGS, Simulator
from tests.support.plane import Plane, eventually, new_plane

SWITCHES = {"boot_s": [3.0, 3.0], "ports_after_s": 0.5, "ssh_after_s": 0.5, "keys_after_s": 0.5}
READY_S = 4.5
"""From a create until a machine lets its keys in: the sum of these."""


@dataclass
class Answer:
    """What came back, and when by this host's clock."""

    status: int
    body: Any
    took_s: float
    at: float


class Client:
    """One connection that is kept alive; another after a plane died."""

    def __init__(self, target: str) -> None:
        self._connection = http.client.HTTPConnection(target, timeout=30)

    def ask(self, method: str, path: str, body: object = None) -> Answer:
        """One call."""
        data = None if body is None else json.dumps(body).encode()
        began = time.monotonic()
        self._connection.request(method, path, data, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        text = response.read()
        return Answer(response.status, json.loads(text), time.monotonic() - began, time.time())

    def create(self, offer_id: str, consumer: str = "app") -> Answer:
        """A session for an hour."""
        wish = {"consumer_id": consumer, "offer_id": offer_id, "workload_type": "batch", "reservation_hours": 1}
        return self.ask("POST", "/api/v1/sessions", wish)

    def status(self, id: str) -> str:
        """What a session reads."""
        return str(self.ask("GET", f"/api/v1/sessions/{id}").body["status"])

    def offers(self) -> list[str]:
        """The ids of those on the market."""
        return [offer["id"] for offer in self.ask("GET", "/api/v1/inventory?provider=vastai").body["offers"]]

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


@dataclass
class Shop:
    """Both processes."""

    plane: Plane
    simulator: Simulator
    port: int

    @property
    def client(self) -> Client:
        """A new client of the plane's present life."""
        return Client(urlsplit(json.loads((self.plane.state / "endpoints.json").read_text())["shopper"]).netloc)

    def open(self) -> Client:
        """Start the plane, which sells soon; a client."""
        self.plane.start(port=self.port)
        client = self.client
        eventually(lambda: client.ask("GET", "/ready").status == 200 and client.offers(), 30.0, what="offers")
        return client

    def machine(self, session_id: str) -> dict[str, Any]:
        """The one machine of a session in the marketplace's ledger."""
        wanted = session_id.removeprefix("inst_")
        (found,) = [one for one in self.simulator.ask("ledger")["machines"] if wanted in one["label"]]
        return dict(found)


@contextlib.contextmanager
def shop() -> Iterator[Shop]:
    """Both processes, and at the end nothing of them."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gps-")))
        simulator = Simulator("vastai", folder, 1, SWITCHES)
        stack.callback(simulator.close)
        plane = new_plane(**SETTINGS | {"vastai_api_key": "vast-key", "vastai_url": simulator.url})
        stack.callback(plane.close)
        yield Shop(plane, simulator, free_port())


class Sightings:
    """When each session was first seen in each status, by a reader that looks ten times a second."""

    def __init__(self, client: Client) -> None:
        self.first: dict[tuple[str, str], float] = {}
        self._client, self._over = client, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Sightings:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._client.close()

    def _look(self) -> None:
        while not self._over.wait(0.1):
            answer = self._client.ask("GET", "/api/v1/sessions")
            for session in answer.body["sessions"]:
                self.first.setdefault((session["id"], session["status"]), answer.at)

    def wait(self, ids: list[str], status: str, timeout_s: float) -> dict[str, float]:
        """The moments at which these were seen so."""
        wanted = [(id, status) for id in ids]
        eventually(lambda: all(each in self.first for each in wanted), timeout_s, what=f"{status} sessions")
        return {id: self.first[id, status] for id in ids}
