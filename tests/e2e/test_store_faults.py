"""A database that is locked, full or read-only, and starts that must be refused: a clear word, and nothing lost.

The faults are real. Full: the database lies on a small ext4 image, which is filled to the last byte. Read-only:
`chattr +i` on the database's files there, the one way that stops a process of root with the files open; the kernel
then refuses each write, as it does on a disk that it turned read-only after errors. Errors: the process may write no
byte to any file (RLIMIT_FSIZE), which needs no root.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.plane import (
    GPUPLANE,
    Plane,
    environment,
    eventually,
    failure_of,
    new_plane,
    pb,
    rest_failure,
    run_up,
    running_plane,
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and immutable files need root")

HOLD_LOCK = """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def locked(_plane: Plane, database: Path) -> Iterator[None]:
    """Another process holds the write lock."""
    argv = [sys.executable, "-c", HOLD_LOCK, str(database)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            holder.kill()


@contextlib.contextmanager
def read_only(_plane: Plane, database: Path) -> Iterator[None]:
    """Every write to the database and its log fails. Not to the shared index: SQLite maps that file into memory, and
    the kernel answers a refused write there with SIGBUS, which no program survives."""
    files = [database, database.with_name(f"{database.name}-wal")]
    subprocess.run(["chattr", "+i", *files], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", *files], check=True)


@contextlib.contextmanager
def full(_plane: Plane, database: Path) -> Iterator[None]:
    """The database's disk has not a byte left."""
    ballast = database.with_name("ballast")
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        ballast.unlink()


@contextlib.contextmanager
def failing(plane: Plane, _database: Path) -> Iterator[None]:
    """The plane cannot write to any file."""
    resource.prlimit(plane.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(plane.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@contextlib.contextmanager
def full_or_failing(plane: Plane, database: Path) -> Iterator[None]:
    """Both at once, as far as this user can bring it about."""
    with failing(plane, database), full(plane, database) if os.geteuid() == 0 else contextlib.nullcontext():
        yield


@pytest.fixture(scope="module")
def plane() -> Iterator[Plane]:
    """Its database lies on a small disk of its own, where that can be had."""
    plane = new_plane()
    disk = plane.root / "disk"
    disk.mkdir()
    if os.geteuid() == 0:
        image = plane.root / "image"
        with image.open("wb") as file:
            file.truncate(12 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, disk], check=True)
    plane.settings["database"] = f"sqlite:///{disk}/gpuplane.db"
    try:
        yield plane.start()
    finally:
        plane.kill9(envoy=True)
        if os.geteuid() == 0:
            subprocess.run(["umount", disk], check=True)
        plane.close()


@pytest.fixture(scope="module")
def database(plane: Plane) -> Path:
    return plane.root / "disk" / "gpuplane.db"


def _health(plane: Plane) -> Any:
    return plane.rest("GET", "/health", key="")


def _big() -> dict[str, Any]:
    return {"labels": {f"label-{n}": "v" * 250 for n in range(60)}}


FAULTS = [
    pytest.param(locked, "the database is locked by another program", id="locked"),
    pytest.param(full, "the disk is full", id="full", marks=needs_root),
    pytest.param(read_only, "the disk of the database reports errors", id="read-only", marks=needs_root),
    pytest.param(failing, "the disk of the database reports errors", id="failing"),
]


@pytest.mark.parametrize(("fault", "words"), FAULTS)
def test_a_fault_while_running(plane: Plane, database: Path, fault: Callable[..., Any], words: str) -> None:
    running = plane.rent(name=f"before {words}")
    before = plane.me.instances.ListInstances(pb.ListInstancesRequest()).instances
    pid = plane.pid

    with fault(plane, database):
        with ThreadPoolExecutor(4) as pool:  # at once, as they wait for the lock together
            asked = [pool.submit(lambda: failure_of(lambda: plane.create(**_big()))) for _ in range(3)]
            asked.append(pool.submit(lambda: failure_of(lambda: _terminate(plane, running.id))))
            refusals = [future.result() for future in asked]
        for failure in refusals:
            assert (failure.code, failure.reason) == ("UNAVAILABLE", "STORE_UNAVAILABLE")
            assert failure.message == f"{words}; nothing was changed, try again"
        # Reads go on.
        assert plane.me.instances.GetInstance(pb.GetInstanceRequest(id=running.id)) == running
        assert plane.me.instances.ListInstances(pb.ListInstancesRequest()).instances == before
        assert plane.rest("GET", "/gpuplane/v1/usage").status == 200
        with plane.me.watch(plane.me.instances.WatchInstances, pb.WatchInstancesRequest()) as stream:
            assert stream.next().type == pb.INSTANCE_EVENT_TYPE_BOOKMARK
        health = eventually(lambda: next((h for h in [_health(plane)] if h.status == 503), None))
        assert health.json["status"] == "unavailable"
        check = health.json["checks"]["database"]
        assert (check["healthy"], check["message"]) == (False, f"{words}; nothing was changed, try again")
        answer = plane.rest("POST", "/gpuplane/v1/instances", {"offer_id": "local-cpu"} | _big())
        assert (answer.status, rest_failure(answer).reason) == (503, "STORE_UNAVAILABLE")

    assert plane.pid == pid
    assert plane.running, "it recovers without a restart"
    made = plane.rent(name="after")
    eventually(lambda: _health(plane).status == 200, what=lambda: _health(plane).body.decode())
    listed = plane.me.instances.ListInstances(pb.ListInstancesRequest()).instances
    assert [i.id for i in listed] == [made.id, *(i.id for i in before)], "what was refused was not done"
    for id in (made.id, running.id):
        assert plane.terminate(id).state == pb.OPERATION_STATE_SUCCEEDED


def _terminate(plane: Plane, id: str) -> Any:
    return plane.me.instances.TerminateInstance(pb.TerminateInstanceRequest(id=id))


@pytest.mark.parametrize("fault", [full_or_failing, locked])
def test_accepted_work_survives_a_fault(plane: Plane, database: Path, fault: Callable[..., Any]) -> None:
    """Operations are under way when the store fails. Each ends as asked, though perhaps only once its lease ran out."""
    ending = [plane.rent().id for _ in range(2)]
    creates = [plane.create() for _ in range(3)]
    ends = [_terminate(plane, id) for id in ending]
    with fault(plane, database):
        time.sleep(0.5)
    for operation in (*creates, *ends):
        done = plane.wait(operation.id)
        assert done.state == pb.OPERATION_STATE_SUCCEEDED, done
        assert len([a for a in done.attempts if a.outcome == pb.ATTEMPT_OUTCOME_CREATED]) <= 1
    assert len(plane.machines()) == len(creates)
    for operation in creates:
        plane.terminate(operation.instance_id)
    assert not plane.machines()


def test_a_short_lock_is_waited_out(plane: Plane, database: Path) -> None:
    with ThreadPoolExecutor(1) as pool, locked(plane, database):
        made = pool.submit(plane.create)
        time.sleep(0.5)
        assert not made.done()
    plane.terminate(made.result().instance_id)


def test_watch_goes_on_after_a_fault(plane: Plane, database: Path) -> None:
    """A stream that was open all the time misses nothing of what follows."""
    me = plane.me
    with me.watch(me.instances.WatchInstances, pb.WatchInstancesRequest()) as stream:
        stream.next()
        with locked(plane, database):
            failure_of(lambda: plane.create())
        operation = plane.create()
        states = [stream.until(lambda e: e.instance.id == operation.instance_id).instance.revision for _ in range(2)]
        assert states == [1, 2]
    plane.terminate(operation.instance_id)


# Starts that are refused


def _assert_refused(state: Path, *args: str, says: str, **settings: object) -> str:
    before = _files(state)
    ended = run_up(state, *args, **settings)
    assert ended.returncode == 1, ended
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    line = ended.stderr.splitlines()[-1]
    assert line.startswith("gpuplane: ")
    assert says in line
    after = _files(state)
    assert {name: after.get(name) for name in before} == before, "nothing was touched"
    return line


def _files(state: Path) -> dict[str, bytes]:
    """What must not change: the folder's files, but for the lock and the running plane's own write-ahead log."""
    if not state.is_dir():
        return {}
    skip = ("lock", "-wal", "-shm", ".yaml")
    return {str(f): f.read_bytes() for f in state.rglob("*") if f.is_file() and not f.name.endswith(skip)}


def _taken_port() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_a_taken_port(tmp_path: Path) -> None:
    with _taken_port() as taken:
        port = taken.getsockname()[1]
        line = _assert_refused(tmp_path / "state", "--port", str(port), says=f"port {port} on 127.0.0.1 cannot be used")
    assert "Address already in use; choose another with --port" in line
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("folder", ["/proc/gpuplane", "/dev/null/state"])
def test_an_unwritable_folder(folder: str) -> None:
    _assert_refused(Path(folder), says=f"the state folder {folder} cannot be written")


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    _assert_refused(tmp_path / "file" / "state", says="cannot be written: Not a directory")


def test_a_database_that_is_garbage(tmp_path: Path) -> None:
    (tmp_path / "gpuplane.db").write_bytes(b"not a database " * 1000)
    _assert_refused(tmp_path, says=f"the database {tmp_path}/gpuplane.db cannot be opened: file is not a database")


def test_a_database_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "gpuplane.db").mkdir()
    _assert_refused(tmp_path, says="the database cannot be used: unable to open database file")


def test_another_kind_of_database(tmp_path: Path) -> None:
    _assert_refused(tmp_path, database="mysql://user:secret@host/x", says="the database must be sqlite:///PATH")
    assert "secret" not in _assert_refused(tmp_path, database="mysql://user:secret@host/x", says="mysql://...")


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """The state folder of a plane that ran once and stopped in good order."""
    with running_plane() as plane:
        _assert_refused(plane.state, says=f"another gpuplane (pid {plane.pid}) runs on the state folder {plane.state}")
        assert _health(plane).status == 200, "the first one was not disturbed"
        plane.stop()
        yield plane.state


@pytest.fixture
def stopped(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template, tmp_path / "state", ignore=shutil.ignore_patterns("run"))
    return tmp_path / "state"


def _set_meta(state: Path, **values: object) -> None:
    with contextlib.closing(sqlite3.connect(state / "gpuplane.db")) as database, database:
        for key, value in values.items():
            database.execute("UPDATE meta SET value = ? WHERE key = ?", (str(value), key))


@pytest.mark.parametrize("schema", [1, 99])
def test_a_database_of_a_newer_build(stopped: Path, schema: int) -> None:
    _set_meta(stopped, schema=schema, min_compatible=99)
    line = _assert_refused(stopped, says="the database needs a gpuplane with schema 99 or newer")
    assert line.endswith("upgrade gpuplane")


def test_a_newer_database_that_is_still_compatible(stopped: Path) -> None:
    """An old replica runs beside new ones, and leaves their mark alone."""
    _set_meta(stopped, schema=99, min_compatible=1)
    said = subprocess.run(
        [*GPUPLANE, "db", "migrate", "--state", stopped], env=environment(), capture_output=True, text=True, check=True
    )
    assert said.stdout == "schema 99, of a newer gpuplane but compatible\n"
    with contextlib.closing(sqlite3.connect(stopped / "gpuplane.db")) as database:
        meta = dict(database.execute("SELECT key, value FROM meta"))
    assert (meta["schema"], meta["min_compatible"]) == ("99", "1")


def test_a_database_locked_at_the_start(stopped: Path) -> None:
    with locked(Plane(stopped), stopped / "gpuplane.db"):
        _assert_refused(stopped, says="the database is locked by another program")


@pytest.mark.parametrize("name", ["credentials.json", "master.key"])
def test_a_damaged_file_of_keys(stopped: Path, name: str) -> None:
    (stopped / name).write_text("{")
    _assert_refused(stopped, says=f"{stopped / name} is damaged")


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    ended = run_up(tmp_path / "state", rate_limit="-1", hold_window="x")
    assert ended.returncode == 2
    assert "setting rate_limit: Input should be greater than 0; got '-1'" in ended.stderr
    assert "setting hold_window" in ended.stderr
    assert not (tmp_path / "state").exists()


def test_a_signal_while_starting(tmp_path: Path) -> None:
    """SIGTERM before it is ready ends it, and leaves no Envoy."""
    plane = Plane(tmp_path)
    with (tmp_path / "log").open("wb") as log:
        argv = [*GPUPLANE, "up", "--state", str(plane.state), "--port", "0"]
        plane.process = subprocess.Popen(argv, env=environment(), stdout=log, stderr=log, process_group=0)
    eventually(lambda: (plane.state / "gpuplane.db").exists())
    plane.process.send_signal(signal.SIGTERM)
    plane.process.wait(15)
    plane.close()
