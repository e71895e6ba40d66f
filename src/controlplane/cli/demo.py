"""`gpuplane demo`: the whole story on this host, told to somebody who has never seen the project."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import click

from controlplane.cli.demo_plane import Plane, fetch
from controlplane.cli.errors import FAILED, Failure
from controlplane.cli.values import format_hourly, format_money

MODEL = "smollm2-135m-instruct"
GPU = "RTX 4090"
REST = "/gpuplane/v1"


@click.command()
def demo() -> None:
    """Rent a machine on this host, use it, end it, see the bill."""
    began = time.monotonic()
    click.echo(
        "This rents one machine on this host and gives it back, in seconds. The machine is real: a\n"
        f"sandboxed process with its own SSH server. Its GPU, an {GPU}, is pretended; no marketplace is\n"
        "asked and nothing is paid."
    )
    with_model = _check_host()
    plane = Plane()
    try:
        _heading("Start a control plane")
        with plane:
            click.echo(f"It answers at {plane.url}: REST and gRPC on one port.")
            _tell(plane, with_model)
    except Failure as failure:
        raise Failure(f"the demo failed: {failure.message}{_log_of(plane)}", FAILED) from failure
    except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        raise Failure(f"the demo failed: {type(error).__name__}: {error}{_log_of(plane)}", FAILED) from error
    _heading(f"Done in {time.monotonic() - began:.0f} s; plane, machine and files are gone")
    click.echo("Keep a plane running with `gpuplane up`; then see `gpuplane --help`.")


def _check_host() -> bool:
    """Refuse early where no machine can be built; tells whether a model can be served."""
    from controlplane.sandbox import runtime
    from controlplane.sandbox.host import Host

    _heading("Look at this host")
    host = Host()
    if host.refusal:
        raise Failure(f"no sandbox can be built here: {host.refusal}; see `gpuplane doctor`")
    click.echo("sandbox: bubblewrap works" + ("" if host.root else " (without root)"))
    has_model = runtime.has_model()
    click.echo(f"model:   {MODEL} can be served" if has_model else f"model:   none ({runtime.MODEL_INSTALL_LINE})")
    if not shutil.which("ssh") or not shutil.which("ssh-keygen"):
        raise Failure("there is no ssh client on this host: apt-get install openssh-client")
    return has_model


def _tell(plane: Plane, with_model: bool) -> None:
    _heading("See what can be rented")
    _show_offers(plane)
    _heading("Rent one by REST")
    key = _make_key(plane.folder)
    created = plane.call("POST", f"{REST}/instances", _wish(key, with_model), show=True)
    id = created["instance_id"]
    click.echo(f"Accepted before anything was bought: instance {id}, operation {created['id']}.")
    _heading("Watch it come up (server-sent events)")
    _watch(plane, id)
    _heading("Log in")
    connection = plane.call("GET", f"{REST}/instances/{id}/connection", show=True)
    _log_in(connection, key, plane.folder)
    if with_model:
        _heading("Ask its model something")
        _ask(connection)
    _heading("Give it back")
    ending = plane.call("POST", f"{REST}/instances/{id}/terminate", {}, show=True)
    ended = plane.call("POST", f"{REST}/operations/{ending['id']}/wait", {"timeout": "30s"})
    if ended["state"] != "OPERATION_STATE_SUCCEEDED":
        raise Failure(f"the machine is not gone: {json.dumps(ended)}")
    click.echo("The host confirmed that the machine is gone.")
    _heading("What happened, and what it costs")
    _show_operation(plane, created["id"])
    _show_bill(plane, id)


def _show_offers(plane: Plane) -> None:
    query = urllib.parse.urlencode({"requirements.gpu_types": GPU, "page_size": 3})
    from gpuplane.v1.offer_service_pb2 import ListOffersResponse

    answer = _parse(plane.call("GET", f"{REST}/offers?{query}", show=True), ListOffersResponse())
    for offer in answer.offers:
        mark = "simulated" if offer.simulated else ""
        click.echo(f"  {offer.id:<34} {format_hourly(offer.price_per_hour):<10} {mark}")
    click.echo(f"  ... {answer.total_size} in all, cheapest first")


def _make_key(folder: Path) -> Path:
    path = folder / "id_ed25519"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "gpuplane-demo", "-f", str(path)]
    subprocess.run(command, check=True, timeout=20)
    return path


def _wish(key: Path, with_model: bool) -> dict[str, Any]:
    wish: dict[str, Any] = {
        "name": "demo",
        "requirements": {"gpu_types": [GPU], "gpu_count": 1, "tier": "TIER_ON_DEMAND"},
        "ssh_public_keys": [key.with_suffix(".pub").read_text().strip()],
        "reservation": "600s",
    }
    if with_model:
        wish |= {"launch_mode": "LAUNCH_MODE_MODEL", "model": MODEL}
    return wish


def _watch(plane: Plane, id: str) -> None:
    began = time.monotonic()
    for event in plane.stream(f"{REST}/instances/{id}/watch"):
        instance = event.get("instance")
        if not instance:
            continue
        state = instance["state"].removeprefix("INSTANCE_STATE_").lower()
        passed = time.monotonic() - began
        click.echo(f"  {passed:5.1f} s  {state:<11} {instance['offer_id']} {instance['state_reason']}")
        if state == "running":
            click.echo(
                "Running means: the control plane logged in by SSH"
                + (", and the model answered." if instance["model"] else ".")
            )
            return
        if state in ("failed", "terminated", "stopping"):
            raise Failure(f"the machine ended: {instance['state_reason']} {instance['state_message']}")
    raise Failure("the stream ended before the machine was running")


def _log_in(answer: dict[str, Any], key: Path, folder: Path) -> None:
    from gpuplane.v1.instance_pb2 import Connection

    from controlplane.cli.ssh import known_hosts_line, ssh_arguments

    connection = _parse(answer, Connection())
    known_hosts = folder / "known_hosts"
    known_hosts.write_text(known_hosts_line(connection))
    remote = "echo I am $(id -un) on $(hostname) with $(nproc) CPUs; ps -e | wc -l | xargs echo processes I see:"
    click.secho(f"$ {connection.ssh_command} -i {key.name} '{remote}'", fg="cyan")
    command = ["ssh", *ssh_arguments(connection, known_hosts, str(key)), "-o", "BatchMode=yes", remote]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise Failure(f"ssh failed with exit code {done.returncode}: {done.stderr.strip()}")
    click.echo(done.stdout.rstrip())


def _ask(connection: dict[str, Any]) -> None:
    question = "In one sentence: what is a GPU?"
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": 48,
        "temperature": 0,
    }
    url = f"{connection['model_url']}/chat/completions"
    click.secho(f"$ curl -s {url} -H \"Authorization: Bearer $MODEL_KEY\" -d '{json.dumps(body)}'", fg="cyan")
    headers = {"Authorization": f"Bearer {connection['model_api_key']}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, method="POST", data=json.dumps(body).encode(), headers=headers)
    with fetch(request, timeout=60) as answer:
        said = json.load(answer)
    click.echo(f"{said['choices'][0]['message']['content'].strip()}")
    click.echo(f"({said['usage']['completion_tokens']} tokens, from a 135M model that fits any host)")


def _show_operation(plane: Plane, id: str) -> None:
    from gpuplane.v1.operation_pb2 import Operation

    from controlplane.cli.show import operation_details

    operation_details(_parse(plane.call("GET", f"{REST}/operations/{id}"), Operation()))


def _show_bill(plane: Plane, id: str) -> None:
    from gpuplane.v1.usage_service_pb2 import CostSummary, ListLedgerEntriesResponse

    from controlplane.cli.values import to_datetime

    click.echo()
    ledger = _parse(plane.call("GET", f"{REST}/ledger?instance_id={id}", show=True), ListLedgerEntriesResponse())
    for entry in ledger.entries:
        seconds = (to_datetime(entry.end_time) - to_datetime(entry.start_time)).total_seconds()
        click.echo(f"  {seconds:6.1f} s  {format_money(entry.amount):<14} {entry.description}")
    summary = _parse(plane.call("GET", f"{REST}/usage/summary?instance_id={id}"), CostSummary())
    seconds = summary.hours * 3600
    click.echo(f"  total     {format_money(summary.total)} for {seconds:.0f} s of machine time (pretended money)")


def _parse(answer: dict[str, Any], message: Any) -> Any:
    from google.protobuf.json_format import ParseDict

    return ParseDict(answer, message, ignore_unknown_fields=True)


def _heading(text: str) -> None:
    click.secho(f"\n== {text}", bold=True)


def _log_of(plane: Plane) -> str:
    return f"\nThe server's last words:\n{plane.last_words}" if plane.last_words else ""
