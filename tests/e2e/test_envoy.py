"""The edge as clients meet it: a real Envoy before a real gRPC server."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import os
import random
import signal
import socket
import ssl
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.rpc import error_details_pb2, status_pb2
from gpuplane.v1 import instance_pb2, instance_service_pb2, instance_service_pb2_grpc, watch_pb2

from controlplane.dialect import CANONICAL
from controlplane.edge.errors import EdgeError
from controlplane.edge.render import EdgeConfig, Tls, render
from controlplane.edge.runtime import runtime_folder
from controlplane.edge.supervisor import Addresses, EnvoySupervisor
from tests.e2e.envoy_support.edge import DIALECTS, Edge, running
from tests.e2e.envoy_support.http1 import call, connect
from tests.e2e.envoy_support.server import Server

MIB = 1 << 20
INST_1 = instance_service_pb2.GetInstanceRequest(id="inst_1")


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    async with running(tmp_path) as edge:
        yield edge


def assert_refused(answer: Any, status: int, code: int, reason: str) -> dict[str, Any]:
    """The canonical shape of errors, whoever made them."""
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/json"
    assert not [name for name in answer.headers if name.lower().startswith(("grpc-", "x-http-", "x-envoy-"))]
    body = answer.json
    assert set(body) == {"code", "message", "details"}
    assert body["code"] == code
    (info,) = body["details"]
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert (info["reason"], info["domain"]) == (reason, "gpuplane")
    return dict(body)


# --- calls


async def test_each_verb_reaches_its_method(edge: Edge) -> None:
    got = await edge.call("GET", "/gpuplane/v1/instances/inst_1")
    assert (got.status, got.json["id"], got.json["state"]) == (200, "inst_1", "INSTANCE_STATE_RUNNING")
    assert "connection" not in got.json
    assert got.json["labels"] == {}
    made = await edge.call("POST", "/gpuplane/v1/instances", {"name": "abc", "offer_id": "local-1"})
    assert (made.status, made.json["instance_id"]) == (200, "3 characters")
    changed = await edge.call("PATCH", "/gpuplane/v1/instances/inst_1", {"name": "new", "labels": {"a": "b"}})
    assert (changed.json["id"], changed.json["name"], changed.json["labels"]) == ("inst_1", "new", {"a": "b"})
    gone = await edge.call("DELETE", "/gpuplane/v1/ssh-keys/sshkey_1")
    assert (gone.status, gone.json) == (200, {})
    assert edge.server.calls[-1] == "DeleteSshKey sshkey_1"


async def test_metrics_are_sent_as_they_are(edge: Edge) -> None:
    got = await edge.call("GET", "/metrics")
    assert (got.body, got.headers["Content-Type"]) == (b"gpus_total 4.50\n", "text/plain; version=0.0.4")


async def test_the_server_chooses_the_status_of_a_normal_body(edge: Edge) -> None:
    got = await edge.call("GET", "/health")
    assert (got.status, got.json["status"]) == (503, "unavailable")


async def test_an_answer_of_many_megabytes_passes(edge: Edge) -> None:
    got = await edge.call("GET", "/gpuplane/v1/instances?page_size=20")
    assert got.status == 200
    assert len(got.body) > 20_000_000


async def test_request_ids(edge: Edge) -> None:
    made = await edge.call("GET", "/gpuplane/v1/instances/inst_1")
    assert edge.server.metadata["x-request-id"] == made.headers["X-Request-Id"]
    kept = await edge.call("GET", "/gpuplane/v1/instances/none", x_request_id="my.id-7")
    assert kept.headers["X-Request-Id"] == "my.id-7"
    cleaned = await edge.call("GET", "/nowhere", x_request_id='evil "id"' + "x" * 200)
    assert cleaned.headers["X-Request-Id"] == ("evil__id_" + "x" * 200)[:128]


async def test_the_server_learns_who_calls_and_cannot_be_lied_to(edge: Edge) -> None:
    forged = {"x_dialect": "toy", "x_envoy_original_path": "/lie", "x_envoy_external_address": "9.9.9.9"}
    await edge.call("GET", "/gpuplane/v1/instances/inst_1", x_forwarded_for="8.8.8.8", **forged)
    seen = edge.server.metadata
    assert seen["x-dialect"] == "gpuplane"
    assert seen["x-envoy-original-path"] == "/gpuplane/v1/instances/inst_1"
    assert seen["x-envoy-external-address"] == "127.0.0.1"
    assert seen["x-forwarded-for"].startswith("8.8.8.8,")  # then the host's own, for loopback
    async with grpc.aio.insecure_channel(edge.target) as channel:
        stub = instance_service_pb2_grpc.InstancesStub(channel)
        lies = {"x-dialect": "toy", "x-envoy-original-path": "/lie", "x-envoy-external-address": "9.9.9.9"}
        await stub.GetInstance(INST_1, metadata=tuple(lies.items()))
    assert not {"x-dialect", "x-envoy-original-path"} & set(edge.server.metadata)
    assert edge.server.metadata["x-envoy-external-address"] == "127.0.0.1"


async def test_a_trusted_proxy_is_believed(tmp_path: Path) -> None:
    async with running(tmp_path, trusted_proxies=1) as edge:
        await edge.call("GET", "/gpuplane/v1/instances/inst_1", x_forwarded_for="9.9.9.9, 8.8.8.8")
        assert edge.server.metadata["x-envoy-external-address"] == "8.8.8.8"


# --- errors


@pytest.mark.parametrize("id", ["none", "late"])
async def test_an_error_of_the_server_keeps_its_details(edge: Edge, id: str) -> None:
    body = assert_refused(await edge.call("GET", f"/gpuplane/v1/instances/{id}"), 404, 5, "RESOURCE_NOT_FOUND")
    assert body["message"] == f"there is no instance '{id}' in this account"
    assert body["details"][0]["metadata"] == {"resource": "instance", "id": id}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "reason", "words"),
    [
        ("GET", "/gpuplane/v1/nope?key=secret", b"", 404, 12, "METHOD_UNKNOWN", "GET /gpuplane/v1/nope"),
        (
            "PUT",
            "/gpuplane/v1/instances/inst_1",
            b"{}",
            404,
            12,
            "METHOD_UNKNOWN",
            "PUT /gpuplane/v1/instances/inst_1",
        ),
        (
            "POST",
            "/gpuplane/v1/instances",
            b'{"name": "a"',
            400,
            3,
            "INVALID_FIELD",
            "Unexpected end of string",
        ),
        ("POST", "/gpuplane/v1/instances", {"name": 5}, 400, 3, "INVALID_FIELD", "name: invalid value 5"),
        (
            "POST",
            "/gpuplane/v1/instances",
            {"disk_gb": "big"},
            400,
            3,
            "INVALID_FIELD",
            "disk_gb: invalid value",
        ),
        ("GET", "/gpuplane/v1/instances?colour=red", b"", 400, 3, "INVALID_FIELD", "colour"),
        (
            "GET",
            "/gpuplane/v1/instances?page_size=x",
            b"",
            400,
            3,
            "INVALID_FIELD",
            "page_size: invalid value",
        ),
        ("GET", "/gpuplane/v1/instances?page_size=40", b"", 500, 13, "INTERNAL", "32 MiB"),
        ("GET", "/gpuplane/v1/instances/none/watch", b"", 404, 5, "RESOURCE_NOT_FOUND", "no such instance"),
    ],
)
async def test_refusals_have_one_shape(
    edge: Edge, method: str, path: str, body: Any, status: int, code: int, reason: str, words: str
) -> None:
    answer = await edge.call(method, path, body)
    assert words in assert_refused(answer, status, code, reason)["message"]
    assert b"secret" not in answer.body


@pytest.mark.parametrize("path", ["/nope", "/v1/instances", "/gpuplane.v1.Instances/GetInstance", "/healthy"])
async def test_paths_of_nobody(edge: Edge, path: str) -> None:
    answer = await edge.call("GET", path)
    assert answer.status == 404
    assert answer.json == {
        "error": f"there is no method GET {path}",
        "code": "METHOD_UNKNOWN",
        "details": {},
        "request_id": answer.headers["X-Request-Id"],
    }


@pytest.mark.parametrize("chunked", [False, True])
async def test_the_size_of_a_request_is_bounded(edge: Edge, chunked: bool) -> None:
    frame = len(b'{"name": ""}')
    fits = await edge.call("POST", "/gpuplane/v1/instances", {"name": "x" * (4 * MIB - frame)}, chunked=chunked)
    assert fits.json["instance_id"] == f"{4 * MIB - frame} characters"
    over = await edge.call("POST", "/gpuplane/v1/instances", {"name": "x" * (4 * MIB - frame + 1)}, chunked=chunked)
    assert "4 MiB" in assert_refused(over, 413, 8, "MESSAGE_TOO_LARGE")["message"]


async def test_without_a_server_everyone_is_told_to_try_again(edge: Edge) -> None:
    await edge.server.stop()
    assert_refused(await edge.call("GET", "/gpuplane/v1/instances/inst_1"), 503, 14, "SERVER_STOPPING")
    async with grpc.aio.insecure_channel(edge.target) as channel:
        stub = instance_service_pb2_grpc.InstancesStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetInstance(INST_1)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    rich = status_pb2.Status.FromString(dict(caught.value.trailing_metadata())["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    rich.details[0].Unpack(info)
    assert (rich.code, rich.message, info.reason) == (14, caught.value.details(), "SERVER_STOPPING")


async def test_a_server_that_comes_back_is_found_at_once(edge: Edge) -> None:
    await edge.server.stop()
    assert (await edge.call("GET", "/gpuplane/v1/instances/inst_1")).status == 503
    again = Server(edge.server.socket)
    await again.start()
    assert (await edge.call("GET", "/gpuplane/v1/instances/inst_1")).status == 200
    await again.stop()


async def test_reads_are_tried_again_and_writes_are_not(edge: Edge) -> None:
    edge.server.unavailable = 2
    assert (await edge.call("GET", "/gpuplane/v1/instances/inst_1")).status == 200
    assert edge.server.calls == ["GetInstance"] * 3
    edge.server.calls.clear()
    edge.server.unavailable = 2
    asked = {"x_envoy_original_method": "GET", "x_envoy_retry_on": "reset", "x_envoy_retry_grpc_on": "unavailable"}
    answer = await edge.call("POST", "/gpuplane/v1/instances", {}, **asked)  # callers cannot ask for it
    assert_refused(answer, 503, 14, "STORE_UNAVAILABLE")
    assert edge.server.calls == ["CreateInstance"]


async def test_calls_that_meet_a_stop_are_never_told_that_they_were_cancelled(edge: Edge) -> None:
    """gRPC says CANCELLED of a call that arrives while the server shuts down; a caller would not try that again."""
    expected = {("grpc", "OK"), ("grpc", "UNAVAILABLE"), ("rest", 200), ("rest", 503)}
    ends: Counter[object] = Counter()
    stop = asyncio.Event()

    async def by_grpc(stub: Any) -> None:
        while not stop.is_set():
            try:
                await stub.CreateInstance(instance_service_pb2.CreateInstanceRequest())
                ends["grpc", "OK"] += 1
            except grpc.aio.AioRpcError as error:
                ends["grpc", error.code().name] += 1
                await asyncio.sleep(0.02)

    async def by_rest() -> None:
        while not stop.is_set():
            ends["rest", (await edge.call("POST", "/gpuplane/v1/instances", {})).status] += 1

    async with grpc.aio.insecure_channel(edge.target) as channel:
        stub = instance_service_pb2_grpc.InstancesStub(channel)
        calls = [asyncio.create_task(by_grpc(stub)) for _ in range(60)]
        calls += [asyncio.create_task(by_rest()) for _ in range(20)]
        for stops in range(40):
            if stops >= 3 and ends.keys() >= expected:  # each way met one
                break
            await asyncio.sleep(0.3)
            await edge.server.stop()
            edge.server = Server(edge.server.socket)
            await edge.server.start()
        stop.set()
        await asyncio.gather(*calls)
    await edge.server.stop()
    assert ends.keys() == expected, ends


# --- streams


async def test_events_arrive_one_by_one(edge: Edge) -> None:
    async with connect(edge.target) as stream:
        await stream.send(b"GET /gpuplane/v1/instances/inst_1/watch HTTP/1.1\r\nhost: x\r\n\r\n")
        edge.server.events.put_nowait("evt_0")
        assert (await stream.head()).headers["Content-Type"] == "text/event-stream"
        for number in range(3):
            event = await asyncio.wait_for(stream.chunk(), 5)
            assert event.startswith(b"data: {")
            assert event.endswith(b"\n\n")
            assert b'"event_id":"evt_%d"' % number in event
            edge.server.events.put_nowait(f"evt_{number + 1}" if number < 2 else None)
        assert await stream.chunk() == b""


async def test_a_reader_that_leaves_ends_the_handler(edge: Edge) -> None:
    edge.server.events.put_nowait("evt_0")
    async with connect(edge.target) as stream:
        await stream.send(b"GET /gpuplane/v1/instances/inst_1/watch HTTP/1.1\r\nhost: x\r\n\r\n")
        await stream.head()
        assert not edge.server.cancelled.is_set()
    await asyncio.wait_for(edge.server.cancelled.wait(), 5)


async def test_thousands_of_streams_share_one_connection(edge: Edge) -> None:
    count = 5_000
    async with grpc.aio.insecure_channel(edge.target) as channel:
        stub = instance_service_pb2_grpc.InstancesStub(channel)
        streams = [stub.WatchInstances(instance_service_pb2.WatchInstancesRequest()) for _ in range(count)]
        first = await asyncio.gather(*(stream.read() for stream in streams))
        assert all(event.type == watch_pb2.INSTANCE_EVENT_TYPE_BOOKMARK for event in first)
        assert await edge.stat("http.edge.downstream_rq_active") == count
        assert await edge.stat("http.edge.downstream_cx_active") == 1
        edge.server.release.set()

        async def drain(stream: Any) -> int:
            count = 0
            while await stream.read() is not grpc.aio.EOF:
                count += 1
            return count

        assert set(await asyncio.gather(*map(drain, streams))) == {3}


# --- other ways in


async def test_native_grpc_on_the_same_port(edge: Edge) -> None:
    async with grpc.aio.insecure_channel(edge.target) as channel:
        stub = instance_service_pb2_grpc.InstancesStub(channel)
        got = await stub.GetInstance(INST_1)
        assert got.id == "inst_1"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetInstance(instance_service_pb2.GetInstanceRequest(id="none"))
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        assert "grpc-status-details-bin" in dict(caught.value.trailing_metadata())


async def test_browsers_speak_grpc_web(tmp_path: Path) -> None:
    message = INST_1.SerializeToString()
    frame = b"\x00" + len(message).to_bytes(4, "big") + message
    path = "/gpuplane.v1.Instances/GetInstance"
    async with running(tmp_path, cors_origins=("https://app.example",)) as edge:
        ours = {
            "origin": "https://app.example",
            "content_type": "application/grpc-web+proto",
            "x_grpc_web": "1",
        }
        got = await edge.call("POST", path, frame, **ours)
        size = int.from_bytes(got.body[1:5], "big")
        assert instance_pb2.Instance.FromString(got.body[5 : 5 + size]).id == "inst_1"
        trailers = got.body[5 + size :]
        assert trailers[0] == 0x80
        assert b"grpc-status:0" in trailers
        assert got.headers["Access-Control-Allow-Origin"] == "https://app.example"
        for asked in (path, "/gpuplane/v1/instances"):
            ask = {"access_control_request_method": "POST"}
            yes = await edge.call("OPTIONS", asked, origin="https://app.example", **ask)
            assert (yes.status, yes.headers["Access-Control-Allow-Origin"]) == (200, "https://app.example")
            assert "authorization" in yes.headers["Access-Control-Allow-Headers"]
            no = await edge.call("OPTIONS", asked, origin="https://evil.example", **ask)
            assert "Access-Control-Allow-Origin" not in no.headers


async def test_browsers_of_other_origins_are_shut_out_by_default(edge: Edge) -> None:
    answer = await edge.call("GET", "/gpuplane/v1/instances/inst_1", origin="https://app.example")
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


# --- a second dialect


async def test_a_dialect_answers_by_port_host_and_token(edge: Edge) -> None:
    own = edge.addresses.target("toy")
    ways: list[dict[str, Any]] = [
        {"target": own},
        {"target": edge.target, "host": "toy.example:80"},
        {"target": edge.target, "authorization": "Bearer toy_1"},
    ]
    for way in ways:
        paid = await call(method="GET", path="/gpuplane/v1/offers/o", **way)
        assert (paid.status, paid.json, paid.headers["Retry-After"]) == (402, {"pay": True}, "7")
        assert paid.headers["Content-Type"] == "application/problem+json"
        assert edge.server.metadata["x-dialect"] == "toy"
        bad = await call(method="GET", path="/gpuplane/v1/offers?x=1", **way)
        assert (bad.status, bad.json) == (400, {"title": "INVALID_FIELD", "status": 400})
    other = await edge.call("GET", "/gpuplane/v1/offers?x=1", authorization="Bearer gp_1")
    assert_refused(other, 400, 3, "INVALID_FIELD")
    unowned = await call(own, "GET", "/gpuplane/v1/instances/inst_1")
    assert (unowned.status, unowned.json["title"]) == (404, "METHOD_UNKNOWN")


async def test_the_server_words_status_and_body(edge: Edge) -> None:
    own = edge.addresses.target("toy")
    late = await call(own, "GET", "/gpuplane/v1/offers/late")
    assert (late.status, late.json, late.headers["Retry-After"]) == (402, {"pay": True}, "7")
    accepted = await call(own, "GET", "/gpuplane/v1/offers?page_token=accepted")
    assert (accepted.status, accepted.headers["Operation-Id"]) == (202, "op-1")
    empty = await call(own, "GET", "/gpuplane/v1/offers?page_token=empty")
    assert (empty.status, empty.body) == (204, b"")
    assert "Content-Type" not in empty.headers


async def test_connections_are_bounded(tmp_path: Path) -> None:
    async with running(tmp_path, max_connections=2) as edge, connect(edge.target), connect(edge.target):
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await edge.call("GET", "/gpuplane/v1/instances/inst_1")


# --- TLS, access log


def self_signed(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate that is its own authority, for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    cert = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    paths = folder / f"{name}.crt", folder / f"{name}.key"
    paths[0].write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    paths[1].write_bytes(key.private_bytes(*form))
    return paths


async def test_tls(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path, "server")
    async with running(tmp_path, tls=Tls(cert, key)) as edge:
        assert edge.addresses.url("gpuplane") == f"https://{edge.target}"
        context = ssl.create_default_context(cafile=str(cert))
        got = await edge.call("GET", "/gpuplane/v1/instances/inst_1", tls=context)
        assert got.status == 200
        assert edge.server.metadata["x-forwarded-proto"] == "https"
        credentials = grpc.ssl_channel_credentials(cert.read_bytes())
        async with grpc.aio.secure_channel(edge.target, credentials) as channel:
            stub = instance_service_pb2_grpc.InstancesStub(channel)
            assert (await stub.GetInstance(INST_1)).id == "inst_1"


async def test_mutual_tls(tmp_path: Path) -> None:
    server, client = self_signed(tmp_path, "server"), self_signed(tmp_path, "client")
    async with running(tmp_path, tls=Tls(*server, client_ca=client[0])) as edge:
        context = ssl.create_default_context(cafile=str(server[0]))
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await edge.call("GET", "/gpuplane/v1/instances/inst_1", tls=context)
        context.load_cert_chain(*client)
        assert (await edge.call("GET", "/gpuplane/v1/instances/inst_1", tls=context)).status == 200


async def test_the_access_log_has_no_secrets(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    async with running(tmp_path, access_log=log) as edge:
        secret = {"authorization": "Bearer secret"}
        await edge.call("GET", "/gpuplane/v1/instances/none?resume_token=secret", x_request_id="r1", **secret)
        await edge.call("GET", "/gpuplane/v1/instances/none", x_request_id="r2", **secret)
    text = log.read_text()
    assert "secret" not in text
    first, second = (json.loads(line) for line in text.splitlines())
    assert (first["request_id"], first["status"], first["path"]) == ("r1", 400, "/gpuplane/v1/instances/none")
    assert (second["rpc"], second["method"], second["dialect"]) == (
        "/gpuplane.v1.Instances/GetInstance",
        "GET",
        "gpuplane",
    )
    assert (second["status"], second["client"]) == (404, "127.0.0.1")


# --- life


async def port_is_open(target: str) -> bool:
    try:
        async with connect(target):
            return True
    except OSError:
        return False


async def until(condition: Any, what: str) -> None:
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0.02)
    assert await condition(), what


async def test_stop_lets_a_stream_finish(edge: Edge) -> None:
    async with connect(edge.target) as stream, connect(edge.target) as idle:
        await stream.send(b"GET /gpuplane/v1/instances/inst_1/watch HTTP/1.1\r\nhost: x\r\n\r\n")
        edge.server.events.put_nowait("evt_0")
        await stream.head()
        assert b"evt_0" in await stream.chunk()
        stopping = asyncio.create_task(edge.supervisor.stop(drain_s=10))

        async def closed() -> bool:
            return not await port_is_open(edge.target)

        await until(closed, "new connections are refused")
        await idle.send(b"GET /gpuplane/v1/instances/inst_1 HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await idle.head()).headers["Connection"] == "close"
        edge.server.events.put_nowait("evt_1")
        assert b"evt_1" in await stream.chunk()
        assert not stopping.done()
        edge.server.events.put_nowait(None)
        assert await stream.chunk() == b""
        await asyncio.wait_for(stopping, 5)
    assert edge.supervisor.pid is None


async def test_stop_cuts_what_does_not_finish(edge: Edge) -> None:
    async with connect(edge.target) as stream:
        await stream.send(b"GET /gpuplane/v1/watch/instances HTTP/1.1\r\nhost: x\r\n\r\n")
        await stream.head()
        await stream.chunk()
        await asyncio.wait_for(edge.supervisor.stop(drain_s=0.2), 5)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await stream.chunk()


async def test_envoy_is_started_again_on_the_same_ports(edge: Edge) -> None:
    first = edge.supervisor.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)

    async def back() -> bool:
        return edge.supervisor.pid not in (None, first) and await edge.supervisor.healthy()

    await until(back, "a new Envoy serves")
    assert (await edge.call("GET", "/gpuplane/v1/instances/inst_1")).status == 200
    assert await port_is_open(edge.addresses.target("toy"))


def quiet_port() -> int:
    """A free port that the kernel gives to nobody by itself, so that it is still free a moment later."""
    while True:
        port = random.randrange(20_000, 30_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_an_envoy_left_by_a_killed_server_is_replaced(tmp_path: Path) -> None:
    folder, port = runtime_folder(tmp_path), quiet_port()
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.e2e.envoy_support.orphan", str(folder), str(port)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert owner.stdout is not None
    while not (line := await owner.stdout.readline()).strip().isdigit():  # past the log
        assert line, "it ended before its Envoy ran"
    left = int(line)
    owner.kill()
    await owner.wait()
    assert (await call(f"127.0.0.1:{port}", "GET", "/health")).status == 503  # it lives on, and says so
    async with running(tmp_path, port=port) as edge:
        assert (await edge.call("GET", "/gpuplane/v1/instances/inst_1")).status == 200
        assert has_ended(left)


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config = EdgeConfig((tmp_path / "x.sock",), port=port)
        with pytest.raises(EdgeError, match=f"^port {port} on 127.0.0.1 is taken by another program$"):
            await EnvoySupervisor(config, [CANONICAL], tmp_path).start()


async def test_two_edges_do_not_share_a_port(edge: Edge, tmp_path: Path) -> None:
    config = EdgeConfig((tmp_path / "x.sock",), port=edge.addresses.ports["gpuplane"])
    with pytest.raises(EdgeError, match="is taken by another program"):
        await EnvoySupervisor(config, [CANONICAL], tmp_path / "second").start()


async def test_a_bad_configuration_is_named_in_one_line(tmp_path: Path) -> None:
    config = EdgeConfig((tmp_path / "x.sock",), port=0, tls=Tls(tmp_path / "no.crt", tmp_path / "no.key"))
    with pytest.raises(EdgeError, match=r"^Envoy refuses its configuration: .*no\.key") as caught:
        await EnvoySupervisor(config, [CANONICAL], tmp_path).start()
    assert "\n" not in str(caught.value)


def test_bind_addresses(tmp_path: Path) -> None:
    with pytest.raises(EdgeError, match="must be an IP address"):
        render(EdgeConfig((), bind="localhost"), DIALECTS)
    with pytest.raises(EdgeError, match="toy would listen on 65536"):
        render(EdgeConfig((), port=65535), DIALECTS)
    assert Addresses("http", "0.0.0.0", {"toy": 8081}).url("toy") == "http://127.0.0.1:8081"
    assert Addresses("http", "::", {"toy": 8081}).url("toy") == "http://[::1]:8081"


async def test_a_deep_state_folder(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    async with running(deep) as edge:
        assert edge.folder == runtime_folder(deep)
        assert (await edge.call("GET", "/gpuplane/v1/instances/inst_1")).status == 200
        admin = edge.folder / "envoy-admin.sock"
        assert (edge.folder.stat().st_mode & 0o777, admin.stat().st_mode & 0o777) == (0o700, 0o600)
    with pytest.raises(EdgeError, match="too long for a socket"):
        EnvoySupervisor(EdgeConfig(()), DIALECTS, deep)


async def test_a_dead_process_is_left_out(tmp_path: Path) -> None:
    """Two server processes behind one Envoy; one dies."""
    async with running(tmp_path / "a") as other:
        folder = runtime_folder(tmp_path)
        async with running(tmp_path, upstreams=(folder / "server.sock", other.server.socket)) as edge:
            for _ in range(20):
                assert (await edge.call("GET", "/gpuplane/v1/instances/inst_1")).status == 200
            assert edge.server.calls
            assert other.server.calls
            await other.server.stop()
            for _ in range(20):
                assert (await edge.call("GET", "/gpuplane/v1/instances/inst_1")).status == 200
