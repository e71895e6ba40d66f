"""A real plane on a real PostgreSQL through its database's bad days, with real machines.

The database lies behind a proxy, so that the network can be slow, silent, or lose the answer to a COMMIT.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.plane import GPUPLANE, Plane, environment, eventually, failure_of, pb, run_up, running_plane
from tests.support.postgres import PostgresServer, Proxy

PASSWORD = "p:/@% w"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer(listen=True, password=PASSWORD) as server:
        server.sql("CREATE ROLE plane LOGIN PASSWORD 'p:/@% w'")
        server.create("plane", "OWNER plane TEMPLATE template0")
        yield server


@pytest.fixture(scope="module")
def proxy(server: PostgresServer) -> Iterator[Proxy]:
    with Proxy(*server.address) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def shared(server: PostgresServer, proxy: Proxy) -> Iterator[Plane]:
    with running_plane(database=server.url("plane", user="plane", via=proxy)) as plane:
        yield plane


@pytest.fixture
def plane(shared: Plane, proxy: Proxy) -> Iterator[Plane]:
    """The plane, which must live through every test with one and the same process, and be well after it."""
    pid = shared.pid
    yield shared
    proxy.delay_s, proxy.stalled = 0.0, False
    eventually(lambda: _health(shared).status == 200, 15, what=lambda: _health(shared).body.decode() + shared.tail)
    assert shared.running
    assert shared.pid == pid
    assert not [line for line in shared.log.splitlines() if "loop_died" in line or "step_failed" in line]


def _health(plane: Plane) -> Any:
    return plane.rest("GET", "/health", key="")


def _sick(plane: Plane, words: str) -> None:
    """Wait until /health is red for that reason, while the process lives."""

    def look() -> bool:
        health = _health(plane)
        return health.status == 503 and words in health.json["checks"]["database"].get("message", "")

    eventually(look, 15, what=lambda: _health(plane).body.decode())


def _end(plane: Plane, ids: list[str]) -> None:
    operations = [plane.me.instances.TerminateInstance(pb.TerminateInstanceRequest(id=id, force=True)) for id in ids]
    for operation in operations:
        assert plane.wait(operation.id).state == pb.OPERATION_STATE_SUCCEEDED
    assert not plane.machines()


def _through(plane: Plane, trouble: Callable[[], None]) -> None:
    """Creates before and during trouble, each repeated under its request id until it is accepted: every one becomes
    one machine, and a stream that was open all the time tells of each."""
    accepted: list[Any] = []

    def insist(number: int) -> None:
        def ask() -> Any:
            try:
                return plane.create(name=f"m{number}", request_id=f"{trouble}-{number}".replace(" ", "_")[-100:])
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                return None

        accepted.append(eventually(ask, 30, what=f"create {number}", every_s=0.1))

    with (
        plane.me.watch(plane.me.instances.WatchInstances, pb.WatchInstancesRequest()) as stream,
        ThreadPoolExecutor(4) as pool,
    ):
        stream.next()
        asked = [pool.submit(insist, number) for number in range(2)]
        for future in asked:
            future.result()
        asked = [pool.submit(insist, number) for number in range(2, 4)]
        trouble()
        for future in asked:
            future.result()
        for operation in accepted:
            done = plane.wait(operation.id)
            assert done.state == pb.OPERATION_STATE_SUCCEEDED, f"{done}\n{plane.tail}"
        ids = [operation.instance_id for operation in accepted]
        running = dict.fromkeys(ids, False)
        while not all(running.values()):
            event = stream.next()
            if event.instance.id in running:
                running[event.instance.id] |= event.instance.state == pb.INSTANCE_STATE_RUNNING
    assert len(set(ids)) == 4
    assert len(plane.machines()) == 4, "no double machine"
    _end(plane, ids)


def test_a_restart_of_the_database(plane: Plane, server: PostgresServer) -> None:
    def restart() -> None:
        server.restart()
        time.sleep(0.2)
        server.restart()

    _through(plane, restart)


def test_kill_9_of_the_database(plane: Plane, server: PostgresServer) -> None:
    def kill() -> None:
        server.kill9()
        time.sleep(0.5)
        server.start()

    _through(plane, kill)


def test_commits_whose_answers_are_lost(plane: Plane, proxy: Proxy) -> None:
    def lose() -> None:
        for _ in range(6):
            proxy.lose_commits = 1
            eventually(lambda: not proxy.lose_commits)

    _through(plane, lose)
    assert '"store.commit_looked_up"' in plane.log
    assert '"committed": true' in plane.log


def test_a_network_that_falls_silent_for_a_while(plane: Plane, proxy: Proxy) -> None:
    def stall() -> None:
        proxy.stalled = True
        time.sleep(3)
        proxy.stalled = False

    _through(plane, stall)


@pytest.mark.parametrize("delay_s", [0.05, pytest.param(0.2, marks=pytest.mark.slow)])
def test_a_slow_database(plane: Plane, proxy: Proxy, delay_s: float) -> None:
    """Every answer comes late. Work goes on, and no lease is lost to it."""
    lost = plane.log.count("loop.lease_lost")
    proxy.delay_s = delay_s
    running = plane.rent(name="slow")
    assert _health(plane).status == 200
    proxy.delay_s = 0.0
    assert len(plane.machines()) == 1
    assert plane.log.count("loop.lease_lost") == lost
    _end(plane, [running.id])


def test_a_primary_that_is_demoted(plane: Plane, server: PostgresServer) -> None:
    """A standby answers reads and refuses writes: recognised, told, and left as soon as there is a primary again."""
    running = plane.rent(name="before")
    server.demote()
    _sick(plane, "the database is read-only")
    failure = failure_of(lambda: plane.create(name="refused"))
    assert (failure.code, failure.reason) == ("UNAVAILABLE", "STORE_UNAVAILABLE")
    assert failure.message == "the database is read-only; nothing was changed, try again"
    assert len(plane.machines()) == 1, "machines live on"
    server.promote()
    eventually(lambda: _health(plane).status == 200, 15, what=lambda: _health(plane).body.decode())
    after = plane.rent(name="after")
    listed = plane.me.instances.ListInstances(pb.ListInstancesRequest()).instances
    assert {i.id for i in listed if i.state == pb.INSTANCE_STATE_RUNNING} == {running.id, after.id}
    assert not [i for i in listed if i.name == "refused"]
    _end(plane, [running.id, after.id])


def test_a_database_that_is_gone(plane: Plane, server: PostgresServer) -> None:
    server.stop()
    try:
        _sick(plane, "the database cannot be reached")
        failure = failure_of(lambda: plane.create())
        assert failure.message == "the database cannot be reached; nothing was changed, try again"
        assert PASSWORD not in plane.log
    finally:
        server.start()
    _end(plane, [plane.rent().id])


# Starts


def test_starts_that_are_refused(tmp_path: Path, server: PostgresServer) -> None:
    """One clear line and exit code 1; a supervisor starts it again. No password is shown."""
    good = server.url("plane", user="plane")
    ascii = server.create("ascii", "OWNER plane ENCODING 'SQL_ASCII' TEMPLATE template0").replace("postgres:", "plane:")
    cases = {
        "postgresql://plane@127.0.0.1:1/plane": "the database cannot be opened: ",
        good.replace(
            ":p%3A", ":q%3A"
        ): 'the database cannot be opened: password authentication failed for user "plane"',
        ascii: "the database's encoding is SQL_ASCII; gpuplane needs UTF8: CREATE DATABASE",
        server.url("missing", user="plane"): 'the database cannot be opened: database "missing" does not exist',
    }
    with ThreadPoolExecutor(2) as pool:
        ended = pool.map(lambda n: run_up(tmp_path / str(n), database=list(cases)[n]), range(len(cases)))
        for end, says in zip(ended, cases.values(), strict=True):
            assert end.returncode == 1
            assert "Traceback" not in end.stderr
            assert end.stderr.splitlines()[-1].startswith("gpuplane: ")
            assert says in end.stderr.splitlines()[-1]
            assert "%25" not in end.stderr


def test_a_restored_database_gets_a_new_epoch(shared: Plane) -> None:
    """Without one a client's resume token could point at numbers that mean something else now."""
    plane, request = shared, pb.WatchInstancesRequest()
    with plane.me.watch(plane.me.instances.WatchInstances, request) as stream:
        token = stream.next().resume_token
    plane.stop()
    said = subprocess.run(
        [*GPUPLANE, "db", "new-epoch", "--state", str(plane.state), "--database", str(plane.settings["database"])],
        env=environment(), capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert said.startswith("epoch ")
    plane.start()
    failure = failure_of(
        lambda: plane.me.instances.WatchInstances(pb.WatchInstancesRequest(resume_token=token), timeout=5)
    )
    assert failure.code == "OUT_OF_RANGE"
