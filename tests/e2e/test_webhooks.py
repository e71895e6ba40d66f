"""Webhooks of a real plane to a real receiver on loopback that fails, stalls and restarts; the plane is killed, too."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psutil
import pytest

from tests.support.plane import Plane, eventually, pb, tried
from tests.support.postgres import PostgresServer


class Receiver:
    """Remembers what came; `mood` says how it answers: ok, fail, hang up (after a while, without an answer)."""

    def __init__(self) -> None:
        self.mood = "ok"
        self.taken: list[tuple[dict[str, str], bytes]] = []  # answered with 204
        self.posts = 0
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?x=1"

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.posts += 1
                if receiver.mood == "hang up":
                    time.sleep(1)
                    self.close_connection = True
                    return
                if receiver.mood == "ok":
                    receiver.taken.append((dict(self.headers), body))
                self.send_response(204 if receiver.mood == "ok" else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def events(self) -> list[Any]:
        """Their payloads, repeats left out."""
        return list({json.loads(body)["id"]: json.loads(body) for _, body in reversed(self.taken)}.values())[::-1]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.stop()


def _told(plane: Plane, token: str, ids: set[str]) -> dict[str, list[str]]:
    """Event ids by instance of all changes of state since the token, as Watch has them."""
    found: dict[str, list[str]] = {id: [] for id in ids}
    left = set(ids)
    with plane.me.watch(plane.me.instances.WatchInstances, pb.WatchInstancesRequest(resume_token=token)) as stream:

        def last(event: Any) -> bool:
            if event.HasField("instance") and event.instance.state == pb.INSTANCE_STATE_TERMINATED:
                left.discard(event.instance.id)
            return not left

        stream.until(last)
        for event in stream.seen:
            if event.HasField("instance") and event.instance.state != event.previous_state:
                found[event.instance.id].append(event.event_id)
    return found


def _deliveries(plane: Plane, endpoint_id: str) -> list[Any]:
    request = pb.ListWebhookDeliveriesRequest(endpoint_id=endpoint_id, page_size=1000)
    return list(plane.me.webhooks.ListWebhookDeliveries(request).deliveries)


def _workers(plane: Plane) -> set[int]:
    """Pids of the plane's server processes."""
    children = [p for p in psutil.process_iter(["cmdline", "ppid"]) if p.info["ppid"] == plane.pid]
    return {p.pid for p in children if "controlplane.bootstrap.worker" in (p.info["cmdline"] or ())}


@pytest.mark.parametrize("dialect", ["", "gpuai", "hoonify"])
def test_signatures_hold_for_an_independent_check(
    make_plane: Callable[..., Plane], receiver: Receiver, dialect: str
) -> None:
    plane = make_plane(webhook_allow_private=True).start()
    made = plane.me.webhooks.CreateWebhookEndpoint(pb.CreateWebhookEndpointRequest(url=receiver.url, dialect=dialect))
    began = int(time.time())
    plane.terminate(plane.rent().id)
    eventually(lambda: len(receiver.taken) >= 3)
    for headers, body in receiver.taken:
        given = next(value for name, value in headers.items() if name.endswith("-Signature"))
        stamp, mac = given.removeprefix("t=").split(",v1=")
        assert began - 1 <= int(stamp) <= time.time()
        wanted = hmac.new(made.secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(mac, wanted)
        event_id = next(value for name, value in headers.items() if name.endswith("-Event-Id"))
        assert json.loads(body)["id"] == event_id
        assert event_id.startswith("evt_")
        assert headers["Content-Type"] == "application/json"
    assert made.secret not in plane.log


def test_two_processes_share_and_one_takes_over_from_the_other(
    make_plane: Callable[..., Plane], receiver: Receiver
) -> None:
    with PostgresServer() as server:
        plane = make_plane(webhook_allow_private=True, database=server.create("plane"), processes=2).start()
        token = plane.me.instances.ListInstances(pb.ListInstancesRequest()).resume_token
        for _ in range(4):
            plane.me.webhooks.CreateWebhookEndpoint(pb.CreateWebhookEndpointRequest(url=receiver.url))
        receiver.mood = "fail"
        ids = [plane.rent().id for _ in range(2)]
        for id in ids:
            plane.terminate(id)
        before = _workers(plane)
        os.kill(min(before), signal.SIGKILL)
        receiver.mood = "ok"
        eventually(lambda: len(_workers(plane) - {min(before)}) == len(before), 20, what="another process")
        eventually(lambda: all(plane.rest("GET", "/ready", key="").status == 200 for _ in range(20)), 20)
        # Envoy may send a stream to the dead process until its next health check; a watcher opens it again.
        told = eventually(lambda: tried(lambda: _told(plane, token, set(ids))), 20, what="a stream of all changes")
        wanted = {event_id for events in told.values() for event_id in events}
        eventually(lambda: {event["id"] for event in receiver.events()} >= wanted, 30)

        def all_delivered() -> bool:
            found = plane.me.webhooks.ListWebhookEndpoints(pb.ListWebhookEndpointsRequest()).webhook_endpoints
            return not any(endpoint.pending_count for endpoint in found)

        eventually(all_delivered, 30)
        assert len(receiver.taken) >= 4 * len(wanted)
        plane.kill9()


def test_every_event_comes_in_order_through_failures_stalls_restarts_and_kills(
    make_plane: Callable[..., Plane], receiver: Receiver
) -> None:
    plane = make_plane(webhook_allow_private=True).start()
    token = plane.me.instances.ListInstances(pb.ListInstancesRequest()).resume_token
    endpoint = plane.me.webhooks.CreateWebhookEndpoint(
        pb.CreateWebhookEndpointRequest(url=receiver.url)
    ).webhook_endpoint
    ids = [plane.create(name=f"m{n}").instance_id for n in range(2)]
    eventually(lambda: len(receiver.taken) >= 2)
    receiver.mood = "fail"
    ids.append(plane.create(name="m2").instance_id)
    eventually(lambda: any(d.attempts and d.attempts[-1].status == 503 for d in _deliveries(plane, endpoint.id)))
    plane.kill9()
    receiver.mood = "hang up"
    plane.start()
    posts = receiver.posts
    eventually(lambda: receiver.posts > posts, 30)
    receiver.stop()
    for id in ids:
        plane.terminate(id)
    plane.kill9()
    plane.start()
    receiver.mood = "ok"
    receiver.start()
    told = _told(plane, token, set(ids))
    wanted = {event_id for events in told.values() for event_id in events}
    eventually(lambda: {event["id"] for event in receiver.events()} >= wanted, 60)
    came = receiver.events()
    for id, events in told.items():
        assert [event["id"] for event in came if event["data"]["instance"]["id"] == id] == events
    eventually(lambda: all(d.state == pb.WEBHOOK_DELIVERY_STATE_DELIVERED for d in _deliveries(plane, endpoint.id)))
    listed = _deliveries(plane, endpoint.id)
    assert {delivery.event_id for delivery in listed} == wanted
    assert len(listed) == len(wanted)
    assert [a.status for d in listed for a in d.attempts if a.status != 204].count(503) >= 1
    first = listed[-1]
    again = pb.RedeliverWebhookRequest(endpoint_id=endpoint.id, id=first.id)
    before = len(receiver.taken)
    plane.me.webhooks.RedeliverWebhook(again)
    eventually(lambda: len(receiver.taken) > before)
    assert json.loads(receiver.taken[-1][1])["id"] == first.event_id
    plane.me.webhooks.DeleteWebhookEndpoint(pb.DeleteWebhookEndpointRequest(id=endpoint.id))
    assert not plane.me.webhooks.ListWebhookEndpoints(pb.ListWebhookEndpointsRequest()).webhook_endpoints
