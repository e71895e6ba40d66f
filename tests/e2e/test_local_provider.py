"""The local provider with real processes: OpenSSH outside, hostile tenants inside, kills at bad moments."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from controlplane.adapters.prober import SshProber
from controlplane.adapters.providers.local import LocalProvider, LocalSettings
from controlplane.ports.provider import (
    Created,
    Destruction,
    LaunchMode,
    LaunchOutcome,
    Machine,
    MachineStatus,
    ProviderError,
    Rejected,
    Stockout,
    TooDear,
)
from controlplane.sandbox import control, names, runtime
from controlplane.sandbox.processes import start_ticks
from tests.e2e.local_plane import (
    Plane,
    agent_of,
    command_lines,
    crash,
    descriptors_of,
    environment_of,
    eventually,
    eventually_async,
    find_tool,
    free_port,
    has_status,
    http_get,
    http_post,
    namespace_of,
    private_pem,
    refuses,
    small_files,
    status_of,
    until_gone,
    upload,
    was_contacted,
)

HERE = Path(__file__).parent
INSIDE = Path(__file__).with_name("inside_machine.py")


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    find_tool("bwrap")
    plane = Plane(tmp_path)
    yield plane
    provider = plane.provider()
    for machine in (await provider.list("")).machines:
        await until_gone(provider, machine.id, grace_s=0)
    await provider.close()
    await eventually(lambda: not plane.leftovers(), lambda: "\n".join(plane.leftovers()))


async def test_launch_describe_list_destroy(plane: Plane) -> None:
    provider = plane.provider()
    machine = await plane.launch(provider)
    assert machine.status is MachineStatus.RUNNING
    assert machine.host_id == "host-1"
    assert machine.utilisation is not None
    assert machine.utilisation.ssh_sessions == 0, "the probe does not count"
    assert [found.id for found in (await provider.list(f"gp-{plane.deployment}-")).machines] == [plane.label()]
    assert (await provider.list("gp-other-")).machines == ()
    assert await provider.launch(plane.spec((await provider.offers())[0])) == Created(plane.label())
    assert "ready" in await provider.logs(machine.id, tail=10)
    await until_gone(provider, machine.id, grace_s=10)
    assert (await provider.describe(machine.id)).status is MachineStatus.GONE
    assert await provider.destroy(machine.id, grace_s=0) is Destruction.GONE
    assert plane.leftovers() == []


async def test_openssh_client(plane: Plane) -> None:
    machine = await plane.launch(plane.provider())

    def ssh(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return plane.openssh("ssh", machine, *args, **options)

    def check() -> None:
        done = ssh("root@127.0.0.1", "echo out; echo err >&2; exit 7")
        assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
        data = os.urandom(300_000).hex()
        assert ssh("root@127.0.0.1", "cat", input=data).stdout == data
        assert ssh("root@127.0.0.1", "kill -TERM $$").returncode == 255  # OpenSSH's word for "by a signal"
        done = ssh("-tt", "root@127.0.0.1", "tty; stty size; echo $TERM", env={**os.environ, "TERM": "xterm"})
        assert done.stdout.split("\r\n")[0].startswith("/dev/pts/"), done
        assert "xterm" in done.stdout
        assert "interactive" in ssh("-tt", "root@127.0.0.1", input="echo inter''active\nexit\n").stdout
        assert ssh("other@127.0.0.1", "true").returncode == 255
        _check_copies(plane, machine)

    await asyncio.to_thread(check)


def _check_copies(plane: Plane, machine: Machine) -> None:
    source, back = plane.root / "source", plane.root / "back"
    source.write_bytes(os.urandom(1_000_000))
    copied = plane.openssh("scp", machine, str(source), "root@127.0.0.1:copy")
    assert copied.returncode == 0, copied.stderr
    assert plane.openssh("scp", machine, "root@127.0.0.1:copy", str(back)).returncode == 0
    assert back.read_bytes() == source.read_bytes()
    done = plane.openssh("sftp", machine, "-b", "-", "root@127.0.0.1", input="rename copy moved\nls\nmkdir d\n")
    assert done.returncode == 0, done.stderr
    assert "moved" in done.stdout


async def test_forwarding_reaches_the_machines_loopback_only(plane: Plane) -> None:
    machine = await plane.launch(plane.provider())
    host_server = socket.create_server(("127.0.0.1", 0))
    host_port = host_server.getsockname()[1]
    python = runtime.sandboxed(model=False).python
    async with plane.connect(machine) as connection:
        server = await connection.create_process(f"cd /etc && {python} -m http.server --bind 127.0.0.1 8123")
        inside, outside = free_port(), free_port()
        forwards = ["-N", "-L", f"{inside}:127.0.0.1:8123", "-L", f"{outside}:127.0.0.1:{host_port}"]
        argv = [find_tool("ssh"), *plane.ssh_options(machine), *forwards, "root@127.0.0.1"]
        client = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.DEVNULL)
        try:
            await eventually(lambda: b"root:x:0:0" in http_get(f"http://127.0.0.1:{inside}/passwd"))
            assert http_get(f"http://127.0.0.1:{outside}/") == b"", "the host's loopback is not the machine's"
            assert not was_contacted(host_server)
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.open_connection("169.254.169.254", 80)
            with pytest.raises(asyncssh.ChannelListenError):
                await connection.forward_remote_port("127.0.0.1", 0, "127.0.0.1", 9)
        finally:
            client.terminate()
            await client.wait()
            server.close()
            host_server.close()


async def test_keys(plane: Plane) -> None:
    provider = plane.provider()
    machine = await plane.launch(provider)
    assert machine.ssh is not None
    stranger = await SshProber().probe(machine.ssh, os.urandom(32), 10)
    assert (stranger.ready, stranger.refused, stranger.permanent) == (False, True, False)
    wrong = replace(machine.ssh, host_key=asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode())
    pinned = await SshProber().probe(wrong, plane.seed, 10)
    assert (pinned.ready, pinned.permanent) == (False, True)
    first = await SshProber().probe(replace(machine.ssh, host_key=""), plane.seed, 10)
    assert (first.ready, first.host_key) == (True, machine.ssh.host_key)
    prober_key = asyncssh.import_private_key(private_pem(plane.seed))
    async with asyncssh.connect(
        "127.0.0.1",
        machine.ssh.port,
        username="root",
        client_keys=[prober_key],
        known_hosts=None,
        config=None,
    ) as probe:
        assert (await probe.run("touch /root/by-probe; id")).stdout == "ok\n"
        with pytest.raises(asyncssh.ChannelOpenError):
            await probe.open_connection("127.0.0.1", 22)
        with pytest.raises((asyncssh.Error, OSError)):
            await probe.start_sftp_client()
        looked = await provider.describe(machine.id)
        assert looked.utilisation is not None
        assert looked.utilisation.ssh_sessions == 0
    assert (await plane.run(machine, "ls /root")).stdout == ""


async def test_a_key_is_added_while_it_runs(plane: Plane) -> None:
    provider = plane.provider()
    machine = await plane.launch(provider)
    key = asyncssh.generate_private_key("ssh-rsa", key_size=4096)
    line = key.export_public_key("openssh").decode().strip()
    with pytest.raises(asyncssh.PermissionDenied):
        await replace(plane, key=key).run(machine, "true")
    async with plane.connect(machine) as before:
        await provider.add_key(machine.id, line)
        await provider.add_key(machine.id, line)
        assert (await replace(plane, key=key).run(machine, "id -un")).stdout == "root\n"
        assert (await before.run("echo still")).stdout == "still\n"
    assert (await plane.run(machine, "id -un")).stdout == "root\n"
    for nonsense in ("ssh-rsa garbage", f"{line}\n{line}", ""):
        with pytest.raises(ProviderError):
            await provider.add_key(machine.id, nonsense)
    with pytest.raises(ProviderError):
        await provider.add_key(plane.label("unknown"), line)
    next_life = plane.provider()
    assert (await SshProber().probe(machine.ssh, plane.seed, 10)).ready  # type: ignore[arg-type]
    assert (await replace(plane, key=key).run(await next_life.describe(machine.id), "id -un")).stdout == "root\n"
    assert "a key was added" in await next_life.logs(machine.id, tail=20)


async def test_an_agent_of_before_says_nothing_to_a_key(tmp_path: Path) -> None:
    """Machines outlive upgrades: the former agent told how things stand and hung up."""

    async def former(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'{"sessions": 2}\n')
        writer.close()

    path = tmp_path / "agent.sock"
    async with await asyncio.start_unix_server(former, sock=control.listen(path)):
        assert await control.ask_sessions(path, 5) == 2
        assert not await control.add_key(path, "ssh-ed25519 AAAA", 5)


async def test_nothing_of_the_host_from_inside(plane: Plane) -> None:
    provider = plane.provider()
    machine, other = await asyncio.gather(plane.launch(provider), plane.launch(provider, "b"))
    await plane.run(other, "echo private > /root/private-to-b; echo t > /tmp/private-to-b")
    bystander = await asyncio.create_subprocess_exec("sleep", "987654")
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0gpuplane-test-{plane.deployment}")
    abstract.listen()
    tcp = socket.create_server(("127.0.0.1", 0))
    try:
        await upload(plane, machine, INSIDE)
        facts = {
            "paths": [
                str(plane.root),
                str(HERE),
                "/work",
                "/home",
                "/boot",
                "/root/.pyenv",
                "/sys/kernel",
                "/etc/shadow",
            ],
            "port": tcp.getsockname()[1],
            "abstract": f"gpuplane-test-{plane.deployment}",
            "pid": bystander.pid,
        }
        python = runtime.sandboxed(model=False).python
        done = await plane.run(machine, f"{python} -I -S /root/{INSIDE.name} '{json.dumps(facts)}'")
        assert done.exit_status == 0, done.stderr
        breaches = [entry["what"] for entry in json.loads(str(done.stdout)) if not entry["held"]]
        assert breaches == []
        assert not was_contacted(tcp)
        assert not was_contacted(abstract)
        assert bystander.returncode is None
        await _check_sftp_is_no_way_out(plane, machine)
        _check_identity_outside(plane)
        await plane.run(machine, "kill -9 -1; kill -9 1")  # ends the session itself
        assert bystander.returncode is None
        assert (await provider.describe(machine.id)).status is MachineStatus.RUNNING
        assert (await plane.run(machine, "echo still here")).stdout == "still here\n"
    finally:
        bystander.kill()
        await bystander.wait()
        abstract.close()
        tcp.close()


async def _check_sftp_is_no_way_out(plane: Plane, machine: Machine) -> None:
    async with plane.connect(machine) as connection, connection.start_sftp_client() as sftp:
        await sftp.symlink("/etc/shadow", "/root/shadow")
        with pytest.raises(asyncssh.SFTPError):
            await sftp.open("/root/shadow")
        for path in ("/proc/1/mem", "/proc/1/environ", "/proc/1/root/etc/passwd", str(plane.root)):
            with pytest.raises(asyncssh.SFTPError):
                await sftp.open(path)
        with pytest.raises(asyncssh.SFTPError):
            await sftp.readlink("/proc/1/fd/4")
        links = [await sftp.readlink(f"/proc/self/fd/{fd}") for fd in range(3)]
        assert all(str(link).startswith("pipe:") for link in links), links
        assert "private-to-b" not in await sftp.listdir("/root") + await sftp.listdir("/tmp")


def _check_identity_outside(plane: Plane) -> None:
    expected = names.machine_uid(plane.tag(), plane.label())
    frame = [pid for pid, line in command_lines() if plane.label() in line and plane.tag() in line]
    assert len(frame) == 2, "a monitor and an agent"
    assert expected != 0
    assert {int(status_of(pid, "Uid").split()[0]) for pid in frame} == {expected}


async def test_bounds_hold(plane: Plane) -> None:
    provider = plane.provider()
    machine = await plane.launch(provider)
    python = runtime.sandboxed(model=False).python
    hog = await plane.run(machine, f"{python} -I -S -c 'b = bytearray(900 << 20); print(len(b))'")
    assert hog.exit_status != 0
    assert not hog.stdout
    assert (await plane.run(machine, "fallocate -l 1500M /root/big")).exit_status != 0
    full = await plane.run(machine, "fallocate -l 900M /root/big && fallocate -l 900M /tmp/big")
    assert full.exit_status != 0, "home and /tmp share one disk"
    for path in ("/dev/shm/x", "/run/x"):
        assert (await plane.run(machine, f"head -c 400M /dev/zero > {path}")).exit_status != 0
    bomb = "bomb() { bomb | bomb & }; bomb 2>/dev/null; sleep 1; ls -d /proc/[0-9]* | wc -l"
    async with plane.connect(machine) as connection:
        with contextlib.suppress(asyncssh.Error, TimeoutError):
            await asyncio.wait_for(connection.run(bomb, stderr=asyncssh.DEVNULL), 3)
        assert 10 < sum(1 for _ in namespace_of(agent_of(plane, machine))) <= 96
    started = time.monotonic()
    await until_gone(provider, machine.id, grace_s=1)
    assert time.monotonic() - started < 8


async def test_graceful_stop(plane: Plane) -> None:
    provider = plane.provider()
    machine = await plane.launch(provider)
    async with plane.connect(machine) as connection:
        looked = await provider.describe(machine.id)
        assert looked.utilisation is not None
        assert looked.utilisation.ssh_sessions == 1
        assert await provider.destroy(machine.id, grace_s=60) is Destruction.PENDING
        await eventually(lambda: refuses(machine))
        assert (await provider.describe(machine.id)).status is MachineStatus.STOPPING
        assert (await connection.run("echo old session lives")).stdout == "old session lives\n"
        assert await provider.destroy(machine.id, grace_s=60) is Destruction.PENDING
    started = time.monotonic()
    await until_gone(provider, machine.id, grace_s=60)
    assert time.monotonic() - started < 5, "the last session ended, so nothing is waited for"


async def test_grace_ends_at_its_deadline_also_after_a_restart(plane: Plane) -> None:
    machine = await plane.launch(plane.provider())
    async with plane.connect(machine) as connection:
        assert await plane.provider().destroy(machine.id, grace_s=30) is Destruction.PENDING
        plane.clock.ahead_s = 31
        later = plane.provider()
        assert (await later.describe(machine.id)).status is MachineStatus.STOPPING
        await asyncio.wait_for(connection.wait_closed(), 5)
        await until_gone(later, machine.id, grace_s=1000)


async def test_force_stops_at_once(plane: Plane) -> None:
    provider = plane.provider()
    machine = await plane.launch(provider)
    async with plane.connect(machine) as connection:
        await connection.create_process("trap '' TERM HUP INT; setsid sleep 1000 & sleep 1000")
        assert await provider.destroy(machine.id, grace_s=100) is Destruction.PENDING
        started = time.monotonic()
        await until_gone(provider, machine.id, grace_s=0)
        assert time.monotonic() - started < 3


async def test_frozen_agent_is_killed(plane: Plane) -> None:
    provider = plane.provider()
    machine = await plane.launch(provider)
    os.kill(agent_of(plane, machine), signal.SIGSTOP)
    assert await provider.destroy(machine.id, grace_s=0.3) is Destruction.PENDING
    await until_gone(provider, machine.id, grace_s=0.3)


async def test_dead_machine_is_failed_until_destroyed(plane: Plane) -> None:
    provider = plane.provider()
    machine = await plane.launch(provider)
    for pid, line in command_lines():
        if plane.tag() in line:
            os.kill(pid, signal.SIGKILL)
    await eventually_async(lambda: has_status(provider, machine.id, MachineStatus.FAILED))
    assert "ended" in (await provider.describe(machine.id)).message
    await until_gone(provider, machine.id, grace_s=60)


async def test_lone_agent_is_still_the_machine(plane: Plane) -> None:
    provider = plane.provider()
    machine = await plane.launch(provider)
    for pid, line in command_lines():
        if plane.tag() in line and line.split(" ")[0].endswith("bwrap"):
            os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(0.1)
    assert (await provider.describe(machine.id)).status is MachineStatus.RUNNING
    await until_gone(provider, machine.id, grace_s=5)


async def test_machine_whose_folder_was_lost(plane: Plane) -> None:
    provider = plane.provider()
    machine = await plane.launch(provider)
    await asyncio.to_thread(shutil.rmtree, plane.root / "machines" / machine.id)
    (listed,) = (await provider.list("gp-")).machines
    assert (listed.id, listed.status) == (machine.id, MachineStatus.FAILED)
    await until_gone(provider, machine.id, grace_s=60)
    await eventually(lambda: not plane.leftovers())


async def test_nothing_is_inherited(plane: Plane) -> None:
    provider = plane.provider()
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    try:
        machine = await plane.launch(provider, env={"GREETING": "hello"})
        pipe = os.readlink(f"/proc/self/fd/{writing}")
        frame = [pid for pid, line in command_lines() if plane.tag() in line]
        assert pipe not in [link for pid in frame for link in descriptors_of(pid)]
        assert not any(b"PYTEST" in environment_of(pid) for pid in frame)
    finally:
        os.close(reading)
        os.close(writing)
    shown = await plane.run(machine, "echo $GREETING $HOME $PWD; env", env={"HOME": "/nowhere"})
    assert str(shown.stdout).startswith("hello /nowhere /root\n")
    assert "PYTEST" not in str(shown.stdout)
    await until_gone(provider, machine.id, grace_s=5)
    await eventually(lambda: not {pid for pid, _ in command_lines()} & set(frame), lambda: "a zombie is left")


async def test_restart_adopts_machines(plane: Plane) -> None:
    await crash(plane, "after")
    provider = plane.provider()
    machine = await provider.describe(plane.label())
    assert machine.ssh is not None
    assert (await SshProber().probe(machine.ssh, plane.seed, 30)).ready
    assert (await provider.describe(plane.label())).status is MachineStatus.RUNNING
    assert [found.id for found in (await provider.list("gp-")).machines] == [plane.label()]
    await until_gone(provider, machine.id, grace_s=10)


@pytest.mark.parametrize("moment", ["claimed", "intended", "spawned", "recorded", "admitted"])
async def test_kill_while_launching(plane: Plane, moment: str) -> None:
    await crash(plane, moment)
    provider = plane.provider()
    listed = await provider.list(f"gp-{plane.deployment}-")
    assert [machine.id for machine in listed.machines] == [plane.label()], "accounted for at every moment"
    offer = (await provider.offers())[0]
    assert await provider.launch(plane.spec(offer)) == Created(plane.label()), "the label has its machine"
    if moment != "admitted":
        await eventually_async(lambda: has_status(provider, plane.label(), MachineStatus.FAILED))
    await until_gone(provider, plane.label(), grace_s=0)
    await asyncio.sleep(0.2)
    assert plane.leftovers() == [], "nothing came alive later"


async def test_ten_at_once(plane: Plane) -> None:
    provider = plane.provider()
    labels = [f"n{number}" for number in range(10)]
    machines = await asyncio.gather(*(plane.launch(provider, name) for name in labels))
    assert len({machine.ssh.port for machine in machines if machine.ssh}) == 10
    await asyncio.gather(*(until_gone(provider, machine.id, grace_s=10) for machine in machines))
    assert plane.leftovers() == []


async def test_two_planes_on_one_host(plane: Plane, tmp_path: Path) -> None:
    provider = plane.provider()
    await plane.launch(provider)
    elsewhere = LocalProvider(LocalSettings(tmp_path / "other", "host-1"), plane.clock)
    assert (await elsewhere.list("gp-")).machines == ()
    assert await elsewhere.destroy(plane.label(), grace_s=0) is Destruction.GONE
    assert (await provider.describe(plane.label())).status is MachineStatus.RUNNING


async def test_refusals(plane: Plane) -> None:
    provider = plane.provider(max_machines=1, max_disk_gb=100)
    offer = (await provider.offers())[0]

    async def ask(name: str = "x", **changes: Any) -> LaunchOutcome:
        return await provider.launch(plane.spec(offer, name, **changes))

    assert isinstance(await ask(disk_gb=101), Rejected)
    assert isinstance(await ask(label="gp-../../etc-1"), Rejected)
    assert isinstance(await ask(authorized_keys=("ssh-ed25519 garbage",)), Rejected)
    assert isinstance(await ask(authorized_keys=("ssh-ed25519 AAAA\nssh-rsa BBBB",)), Rejected)
    assert await ask(max_price_nano_per_hour=1) == TooDear(offer.price_nano_per_hour)
    assert isinstance(await ask(offer=replace(offer, id="local-none")), Stockout)
    assert isinstance(await ask(mode=LaunchMode.MODEL, model="other/model", model_api_key="k"), Rejected)
    await plane.launch(provider)
    assert isinstance(await ask("y"), Stockout)
    assert (await provider.offers())[0].available == 0
    assert len((await provider.list("gp-")).machines) == 1


async def test_deep_state_folder(tmp_path: Path) -> None:
    plane = Plane(tmp_path / ("d" * 100) / ("e" * 100))
    plane.root.mkdir(parents=True)
    provider = plane.provider()
    machine = await plane.launch(provider, "x" * 40)
    assert machine.utilisation is not None
    assert machine.utilisation.ssh_sessions == 0
    await until_gone(provider, machine.id, grace_s=10)


async def test_processor_use_is_seen(plane: Plane) -> None:
    provider = plane.provider()
    machine = await plane.launch(provider)
    async with plane.connect(machine) as connection:
        await connection.create_process("while :; do :; done")
        await provider.describe(machine.id)
        await asyncio.sleep(1.3)
        busy = (await provider.describe(machine.id)).utilisation
    assert busy is not None
    assert busy.cpu_percent is not None
    assert 3 < busy.cpu_percent < 160


async def test_without_a_sandbox(plane: Plane) -> None:
    strict = plane.provider()
    strict._host.bwrap = ""
    offer = (await plane.provider().offers())[0]
    assert await strict.offers() == ()
    assert isinstance(await strict.launch(plane.spec(offer)), Stockout)
    assert ("sandbox", False) in [(what, there) for what, there, _ in strict.report()]

    loose = plane.provider(unsandboxed=True)
    loose._host.bwrap = ""
    machine = await plane.launch(loose)
    pid = int(str((await plane.run(machine, "setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo $!")).stdout))
    await until_gone(loose, machine.id, grace_s=10)
    assert start_ticks(pid) is None


async def test_model_server(plane: Plane) -> None:
    assert runtime.has_model(), f"the model server is missing: {runtime.MODEL_INSTALL_LINE}"
    provider = plane.provider(memory_mb=1024)
    key = f"sk-{uuid.uuid4().hex}"
    machine = await plane.launch(
        provider, mode=LaunchMode.MODEL, model="HuggingFaceTB/SmolLM2-135M-Instruct", model_api_key=key
    )
    assert machine.model_url.startswith("http://127.0.0.1:")
    prober = SshProber()

    async def healthy() -> bool:
        return (await prober.model_health(machine.model_url, key, 5)).ready

    await eventually_async(healthy, timeout_s=30)
    wrong = await prober.model_health(machine.model_url, "sk-wrong", 5)
    assert (wrong.ready, wrong.permanent) == (False, True)
    await asyncio.to_thread(_check_chat, machine.model_url, key)
    assert all(key not in line for _, line in command_lines())
    log = await provider.logs(machine.id, tail=1000)
    assert "model:" in log
    assert key not in log
    assert key.encode() not in b"".join(path.read_bytes() for path in small_files(plane.root))
    await until_gone(provider, machine.id, grace_s=10)


def _check_chat(url: str, key: str) -> None:
    body = {
        "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "max_tokens": 8,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    answer = json.loads(http_post(f"{url}/chat/completions", key, body))
    assert answer["choices"][0]["finish_reason"] in ("length", "stop")
    assert answer["usage"]["completion_tokens"] <= 8
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    lines = http_post(f"{url}/chat/completions", key, body).decode().splitlines()
    events = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    assert any(json.loads(event).get("usage") for event in events[:-1])
