"""A real `gpuplane up` for tests: its process, its clients, its bad days, and proof that nothing of it is left.

    with running_plane(local_simulated=True) as plane:     # settings by keyword, sent as GPUPLANE_* variables
        instance = plane.rent(name="a")                    # through the account of credentials.json
        plane.kill9()                                      # its machines and its Envoy live on
        plane.start()                                      # on another free port; callers follow by themselves
        plane.me.instances.GetInstance(pb.GetInstanceRequest(id=instance.id))

`plane.me`, `plane.operator` and `plane.caller(key)` are Callers: plain stubs that send one key, with a deadline of
30 s and without retries. `plane.rest(...)` is the same API over REST. Everything is synchronous; streams are read by a
thread (`Stream`), so that tests can wait for messages with a timeout.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import importlib
import json
import os
import pkgutil
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import gpuplane.v1
import grpc
import psutil
from google.rpc import error_details_pb2, status_pb2
from gpuplane_client.services import Services

from controlplane.adapters.providers.local import LocalProvider, LocalSettings
from controlplane.adapters.system import SystemClock
from controlplane.sandbox import names, processes
from controlplane.sandbox.cgroups import PARENT

T = TypeVar("T")

_MODULES = [
    importlib.import_module(f"gpuplane.v1.{module.name}")
    for module in pkgutil.iter_modules(gpuplane.v1.__path__)
    if module.name.endswith("_pb2")
]
pb = SimpleNamespace(
    **{name: value for module in _MODULES for name, value in vars(module).items() if not name.startswith("_")}
)

DEADLINE_S = 30.0
CPU_OFFER = "local-cpu"
SETTINGS = {"rate_limit": 1_000_000, "rate_burst": 1_000_000, "stop_grace": 2, "drain": 2}


class Plane:
    """One state folder and the plane that runs on it, or does not run at the moment."""

    def __init__(self, root: Path, **settings: object) -> None:
        self.root = root
        self.state = root / "state"
        self.settings: dict[str, object] = SETTINGS | settings
        self.process: subprocess.Popen[bytes] | None = None
        self._log_from = 0
        self._channel: grpc.Channel | None = None

    # Life

    def start(self, *, port: int = 0, timeout_s: float = 30.0) -> Plane:
        """Start, and return once it takes work and has offers. Fails with the log's end when it does not."""
        assert not self.running, "it runs already"
        self._log_from = len(self.log)
        with (self.root / "log").open("ab") as log:
            argv = [*GPUPLANE, "up", "--state", str(self.state), "--port", str(port)]
            # A process group of its own: a test that is interrupted does not interrupt the plane.
            self.process = subprocess.Popen(
                argv,
                env=environment(**self.settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        eventually(lambda: self.announced or not self.running, timeout_s, what="`gpuplane up` to be ready")
        assert self.running, f"it ended with {self.process.returncode}:\n{self.tail}"
        self._connect()
        if self.settings.get("local", True):
            request = pb.GetOfferRequest(id=CPU_OFFER)
            eventually(lambda: tried(lambda: self.operator.offers.GetOffer(request)), what="offers")
        return self

    def stop(self, timeout_s: float = 30.0) -> None:
        """SIGTERM; it must drain and exit with 0. Machines live on."""
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(timeout_s)
        assert code == 0, f"it ended with {code}:\n{self.tail}"

    def kill9(self, *, envoy: bool = False) -> None:
        """SIGKILL to the plane's process group, which Envoy is no part of; with `envoy` to Envoy too."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        if envoy:
            for process in self.envoys():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
                    process.wait(10)

    def restart(self) -> Plane:
        """Stop in good order if it runs, and start again."""
        if self.running:
            self.stop()
        return self.start()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        """Everything that it printed, over all its lives."""
        file = self.root / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    @property
    def tail(self) -> str:
        """The last lines of this life."""
        return "\n".join(self.log[self._log_from :].splitlines()[-40:])

    @property
    def announced(self) -> bool:
        return " is ready\n" in self.log[self._log_from :]

    def envoys(self) -> list[psutil.Process]:
        """The Envoy processes of this state folder."""
        return [p for p in psutil.process_iter(["cmdline"]) if str(self.state / "run" / "envoy.yaml") in _argv(p)]

    # Clients

    @property
    def target(self) -> str:
        """host:port of gRPC and REST."""
        return str(json.loads((self.state / "endpoints.json").read_text())["grpc"])

    @property
    def account_id(self) -> str:
        return str(self._credentials()["account"])

    @property
    def key(self) -> str:
        """The account's key."""
        return str(self._credentials()["keys"]["gpuplane"])

    @property
    def operator_key(self) -> str:
        return (self.state / "operator.key").read_text().strip()

    def _credentials(self) -> Any:
        return json.loads((self.state / "credentials.json").read_text())

    @property
    def me(self) -> Caller:
        """The account of credentials.json."""
        return self.caller(self.key)

    @property
    def operator(self) -> Caller:
        return self.caller(self.operator_key)

    def caller(self, key: str = "") -> Caller:
        """Stubs that send this key; none when it is empty."""
        return Caller(lambda: self.channel, key)

    def new_account(self, name: str = "another") -> Caller:
        """A new account with one key; `account_id` of the result names it."""
        account = self.operator.accounts.CreateAccount(pb.CreateAccountRequest(name=name))
        made = self.operator.keys.CreateApiKey(pb.CreateApiKeyRequest(name="first", account_id=account.id))
        return Caller(lambda: self.channel, made.secret, account.id, made.api_key.id)

    @property
    def channel(self) -> grpc.Channel:
        """To the present life of the plane."""
        assert self._channel is not None, "it was never started"
        return self._channel

    def new_channel(self) -> grpc.Channel:
        """A connection of its own."""
        return grpc.insecure_channel(self.target, options=[("grpc.use_local_subchannel_pool", 1)])

    def _connect(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self._channel = self.new_channel()

    def rest(
        self, method: str, path: str, body: object = None, *, key: str | None = None, timeout_s: float = DEADLINE_S,
        **headers: str,
    ) -> Answer:  # fmt: skip
        """One REST call, with the account's key unless another (or "" for none) is given.

        Bytes are sent as they are, everything else as JSON. Header names come with underscores.
        """
        connection, response = self._request(method, path, body, key, timeout_s, headers)
        with contextlib.closing(connection):
            return Answer(response.status, dict(response.headers), response.read())

    def sse(self, path: str, *, key: str | None = None, timeout_s: float = DEADLINE_S) -> Stream:
        """A REST stream of server-sent events; its items are parsed JSON, or the Answer when there is no stream."""
        connection, response = self._request("GET", path, None, key, timeout_s, {})

        def read() -> Iterator[Any]:
            if response.headers.get_content_type() != "text/event-stream":
                yield Answer(response.status, dict(response.headers), response.read())
                return
            for line in response:
                if line.startswith(b"data:"):
                    yield json.loads(line[5:])

        return Stream(read(), lambda: _hang_up(connection, response))

    def _request(
        self, method: str, path: str, body: object, key: str | None, timeout_s: float, headers: dict[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        key = self.key if key is None else key
        sent = {"authorization": f"Bearer {key}"} if key else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection(self.target, timeout=timeout_s)
        with contextlib.suppress(ConnectionError):  # refused before all of it was read: the answer is there
            connection.request(method, path, data, sent)
        return connection, connection.getresponse()

    # What tests do most

    def create(self, caller: Caller | None = None, **fields: Any) -> Any:
        """Accepts a wish for the local CPU machine unless told otherwise; the operation."""
        if "requirements" not in fields:
            fields = {"offer_id": CPU_OFFER} | fields
        return (caller or self.me).instances.CreateInstance(pb.CreateInstanceRequest(**fields))

    def rent(self, caller: Caller | None = None, **fields: Any) -> Any:
        """A running instance."""
        caller = caller or self.me
        operation = self.wait(self.create(caller, **fields).id, caller)
        assert operation.state == pb.OPERATION_STATE_SUCCEEDED, f"{operation}\n{self.tail}"
        return caller.instances.GetInstance(pb.GetInstanceRequest(id=operation.instance_id))

    def terminate(self, id: str, caller: Caller | None = None) -> Any:
        """The finished operation."""
        caller = caller or self.me
        operation = caller.instances.TerminateInstance(pb.TerminateInstanceRequest(id=id, force=True))
        return self.wait(operation.id, caller)

    def wait(self, operation_id: str, caller: Caller | None = None, timeout_s: int = 30) -> Any:
        """The operation once it is done, or as it is after the timeout."""
        request = pb.WaitOperationRequest(id=operation_id, timeout={"seconds": timeout_s})
        return (caller or self.me).operations.WaitOperation(request, timeout=timeout_s + 5)

    # What is left

    @property
    def _machines_folder(self) -> Path:
        return self.state / "local" / "machines"

    def machines(self) -> dict[str, set[int]]:
        """Host pids of the plane's local machines by label."""
        return dict(processes.scan(names.plane_tag(self._machines_folder)))

    def end_machines(self) -> None:
        """Destroy all local machines, whether or not the plane runs."""
        host_id = self.state / "host_id"
        if host_id.exists():
            asyncio.run(_end_machines(LocalSettings(self.state / "local", host_id.read_text().strip())))

    def leftovers(self) -> list[str]:
        """Anything of this plane that the host still holds."""
        tag, folder = names.plane_tag(self._machines_folder), str(self.state)
        ours = [(p, _argv(p)) for p in psutil.process_iter(["cmdline"]) if p.pid != os.getpid()]
        found = [f"process {p.pid}: {argv}" for p, argv in ours if folder in argv or tag in argv]
        found += [f"mount: {line}" for line in Path("/proc/self/mountinfo").read_text().splitlines() if folder in line]
        loops = Path("/sys/block").glob("loop*/loop/backing_file")
        found += [f"loop: {path}" for path in loops if folder in _text(path)]
        # Unlike glob, walk lets other planes' groups vanish under it.
        parents = [(at, groups) for at, groups, _ in os.walk("/sys/fs/cgroup") if Path(at).name == PARENT]
        return found + [
            f"group: {parent}/{one}" for parent, ones in parents for one in ones if one.startswith(f"{tag}.")
        ]

    def close(self) -> None:
        """End everything, remove the folder; fails when something of it cannot be ended."""
        if self._channel is not None:
            self._channel.close()
        if self.process is not None:
            self.kill9(envoy=True)
        self.end_machines()
        try:
            eventually(lambda: not self.leftovers(), 15, what=lambda: f"nothing to be left of\n{self.leftovers()}")
        finally:
            for process in psutil.process_iter(["cmdline"]):
                if process.pid != os.getpid() and str(self.state) in _argv(process):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
            shutil.rmtree(self.root, ignore_errors=True)


class Caller(Services):
    """Stubs by service (`instances`, `operations`, ...) that send one key, to whatever channel is the present one."""

    def __init__(self, channel: Callable[[], grpc.Channel], key: str, account_id: str = "", key_id: str = "") -> None:
        self.key, self.account_id, self.key_id = key, account_id, key_id
        super().__init__(_Keyed(channel, (("authorization", f"Bearer {key}"),) if key else ()))

    def watch(self, method: Callable[..., Any], request: Any) -> Stream:
        """A server stream, read by a thread: `caller.watch(caller.instances.WatchInstances, request)`."""
        call = method(request, timeout=None)
        return Stream(call, call.cancel)


class _Keyed:
    """A channel for the generated stubs."""

    def __init__(self, channel: Callable[[], grpc.Channel], metadata: tuple[tuple[str, str], ...]) -> None:
        self._channel, self._metadata = channel, metadata

    def unary_unary(self, path: str, **codecs: Any) -> Callable[..., Any]:
        return lambda request, timeout=DEADLINE_S, metadata=(): self._channel().unary_unary(path, **codecs)(
            request, timeout=timeout, metadata=(*self._metadata, *metadata)
        )

    def unary_stream(self, path: str, **codecs: Any) -> Callable[..., Any]:
        return lambda request, timeout=DEADLINE_S, metadata=(): self._channel().unary_stream(path, **codecs)(
            request, timeout=timeout, metadata=(*self._metadata, *metadata)
        )


class Stream:
    """Messages of a stream as they arrive. A failure of the stream is raised by `next` after its last message."""

    def __init__(self, messages: Iterator[Any], cancel: Callable[[], object]) -> None:
        self.cancel = cancel
        self.seen: list[Any] = []
        self._queue: queue.Queue[tuple[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, args=(messages,), daemon=True).start()

    def _read(self, messages: Iterator[Any]) -> None:
        try:
            for message in messages:
                self._queue.put(("message", message))
            self._queue.put(("end", None))
        except Exception as error:
            self._queue.put(("error", error))

    def next(self, timeout_s: float = 10.0) -> Any:
        """The next message; StopIteration at the stream's end, TimeoutError when none comes."""
        try:
            kind, item = self._queue.get(timeout=timeout_s)
        except queue.Empty:
            raise TimeoutError(f"no message within {timeout_s} s; so far: {self.seen[-3:]}") from None
        if kind == "error":
            raise item
        if kind == "end":
            raise StopIteration
        self.seen.append(item)
        return item

    def until(self, wanted: Callable[[Any], object], timeout_s: float = 15.0) -> Any:
        """The first message that is wanted, skipping others (they are in `seen`)."""
        deadline = time.monotonic() + timeout_s
        while True:
            message = self.next(max(0.01, deadline - time.monotonic()))
            if wanted(message):
                return message

    def rest(self, timeout_s: float = 15.0) -> list[Any]:
        """All messages up to the stream's end."""
        found: list[Any] = []
        with contextlib.suppress(StopIteration):
            while True:
                found.append(self.next(timeout_s))
        return found

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()


@dataclass
class Answer:
    """A REST answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Failure:
    """What a failed call said, over gRPC or REST."""

    code: str  # "NOT_FOUND"
    message: str
    reason: str = ""
    metadata: dict[str, str] | None = None


def failure_of(call: Callable[[], object]) -> Failure:
    """How a gRPC call fails; streams are read to their first message. Fails when it does not."""
    try:
        answer = call()
        if hasattr(answer, "code") and hasattr(answer, "__next__"):
            answer = next(answer)  # type: ignore[call-overload]
    except grpc.RpcError as error:
        return grpc_failure(error)
    raise AssertionError(f"it did not fail: {answer}")


def grpc_failure(error: Any) -> Failure:
    """A gRPC error with its ErrorInfo."""
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
    info = error_details_pb2.ErrorInfo()
    for detail in status_pb2.Status.FromString(details).details if details else ():
        detail.Unpack(info)
    return Failure(error.code().name, error.details(), info.reason, dict(info.metadata))


def rest_failure(answer: Answer) -> Failure:
    """A google.rpc.Status in JSON with its ErrorInfo."""
    status = answer.json
    code = next(c.name for c in grpc.StatusCode if c.value[0] == status["code"])
    info = next((d for d in status.get("details", ()) if d["@type"].endswith("google.rpc.ErrorInfo")), {})
    return Failure(code, status["message"], info.get("reason", ""), dict(info.get("metadata", {})))


def eventually(
    check: Callable[[], T], timeout_s: float = 10.0, *, what: str | Callable[[], str] = "", every_s: float = 0.02
) -> T:
    """The first true answer of a check."""
    deadline = time.monotonic() + timeout_s
    while not (found := check()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s in vain for {what() if callable(what) else what or check}")
        time.sleep(every_s)
    return found


def tried(call: Callable[[], T]) -> T | None:
    """The answer of a gRPC call, None when it fails."""
    try:
        return call()
    except grpc.RpcError:
        return None


GPUPLANE = [sys.executable, "-m", "controlplane"]


def environment(**settings: object) -> dict[str, str]:
    """This process's environment with exactly these settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GPUPLANE_")}
    return clean | {f"GPUPLANE_{name.upper()}": _setting(value) for name, value in settings.items()}


def run_up(state: Path, *args: str, timeout_s: float = 20.0, **settings: object) -> subprocess.CompletedProcess[str]:
    """A `gpuplane up` that is expected to refuse to start."""
    argv = [*GPUPLANE, "up", "--state", str(state), *(args if "--port" in args else ("--port", "0", *args))]
    return subprocess.run(argv, env=environment(**settings), capture_output=True, text=True, timeout=timeout_s)


@contextlib.contextmanager
def running_plane(**settings: object) -> Iterator[Plane]:
    """A plane for a test or a module. At the end all that it started is gone, or the test fails."""
    plane = new_plane(**settings)
    try:
        yield plane.start()
    except BaseException:
        print(plane.tail, file=sys.stderr)
        raise
    finally:
        plane.close()


def new_plane(**settings: object) -> Plane:
    """A plane that was not started yet; `close` it."""
    # Not pytest's tmp_path: sockets and Envoy's arguments want short paths.
    return Plane(Path(tempfile.mkdtemp(prefix="gpt-")).resolve(), **settings)


def _setting(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _argv(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.info["cmdline"] or ())
    return ""


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text()
    return ""


def _hang_up(connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
    if connection.sock is not None:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
    elif response.fp is not None:  # `connection: close`: the socket belongs to the response alone
        with contextlib.suppress(OSError, ValueError):
            response.fp.raw._sock.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]


async def _end_machines(settings: LocalSettings) -> None:
    provider = LocalProvider(settings, SystemClock())
    try:
        async with asyncio.timeout(20):
            while machines := (await provider.list("")).machines:
                await asyncio.gather(*(provider.destroy(machine.id, grace_s=0) for machine in machines))
                await asyncio.sleep(0.02)
    finally:
        await provider.close()
