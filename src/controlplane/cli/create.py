"""`gpuplane instances create`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controlplane.cli.base import ApiCommand, common, connect
from controlplane.cli.offers import FILTERS, count_to_rent, filters, requirements
from controlplane.cli.values import DURATION, PAIR

if TYPE_CHECKING:
    from gpuplane_client import Client


@click.command(cls=ApiCommand)
@click.option("--offer", metavar="ID", help="This offer and no other; see `gpuplane offers`.")
@filters
@click.option(
    "--ssh-key",
    "ssh_keys",
    multiple=True,
    metavar="FILE|ID",
    help="Key to log in with: a file, or id or name of a stored key.  [default: ~/.ssh/id_*.pub]",
)
@click.option("--no-ssh-key", is_flag=True, help="Rent a machine that nobody can log in to.")
@click.option("--name", default="", help="Name of the machine.")
@click.option("--label", "labels", type=PAIR, multiple=True, help="Label. Repeatable.")
@click.option("--disk", type=click.IntRange(min=1), metavar="GB", help="Disk.")
@click.option("--image", default="", help="Image, where the provider runs images.")
@click.option("--model", default="", help="Serve this model by an OpenAI-compatible API.")
@click.option("--quantization", default="", help="Of the model's weights, e.g. awq; where the provider can.")
@click.option("--env", type=PAIR, multiple=True, help="Environment variable of the machine. Repeatable.")
@click.option("--template", default="", metavar="ID", help="Template of the provider to start from.")
@click.option("--on-start", type=click.File(), metavar="FILE", help="Shell script to run once at the machine's start.")
@click.option("--port", "ports", type=click.IntRange(1, 65535), multiple=True, help="Port to open. Repeatable.")
@click.option("--retries", type=click.IntRange(0, 5), help="Most replacements of a machine that does not come up.")
@click.option("--for", "reservation", type=DURATION, help="End the machine after this long, e.g. 2h.")
@click.option("--max-duration", type=DURATION, help="Limit past which no extension goes.")
@click.option("--idle", type=DURATION, help="End the machine after this long without use, e.g. 30m.")
@click.option("--keep-disk", is_flag=True, help="What ends by itself is stopped and its disk kept, until `terminate`.")
@click.option("--machines", type=click.IntRange(1, 100), help="So many machines of the kind.")
@click.option("--at-least", type=click.IntRange(1, 100), help="With --machines: rent none if fewer can be had.")
@click.option("--request-id", default="", help="Repeating with the same id rents nothing more.")
@click.option("--no-wait", is_flag=True, help="Return once the wish is accepted.")
@click.option("--timeout", type=DURATION, help="Stop waiting after this long (exit code 5); the work goes on.")
@click.option("--quiet", "-q", is_flag=True, help="Print the instance id only.")
def create(no_wait: bool, timeout: Any, quiet: bool, **wish: Any) -> None:
    """Rent a machine and wait until somebody can log in.

    \b
      gpuplane instances create --gpu H100 --max-price 2.50 --for 2h
      gpuplane instances create --offer local-cpu --name box --idle 30m
      gpuplane instances create --gpu "RTX 4090" --machines 8 --at-least 6

    Name an offer, or say what is needed: then the cheapest offer that fits is taken, and the next when it is
    gone.
    """
    from controlplane.cli.renting import accept, await_all

    check_target(wish)
    with connect() as client:
        accepted = accept(client, build_request(client, wish), wish["machines"], wish["at_least"])
        if no_wait:
            _accepted_lines(accepted.operations, many=wish["machines"] is not None, quiet=quiet)
        else:
            seconds = timeout.seconds if timeout else None
            _ready_lines(await_all(client, accepted, seconds), many=wish["machines"] is not None, quiet=quiet)
    accepted.fail_if_incomplete()


def _accepted_lines(operations: list[Any], *, many: bool, quiet: bool) -> None:
    from controlplane.cli.output import print_json

    if common().json:
        print_json(operations if many else operations[0])
        return
    for operation in operations:
        hint = "" if quiet else f" is accepted; follow it: gpuplane operations wait {operation.id}"
        click.echo(f"{operation.instance_id}{hint}")


def _ready_lines(instances: list[Any], *, many: bool, quiet: bool) -> None:
    from controlplane.cli.output import print_json
    from controlplane.cli.show import ready_lines

    if common().json:
        print_json(instances if many else instances[0])
        return
    for instance in instances:
        if quiet:
            click.echo(instance.id)
        else:
            ready_lines(instance)


def check_target(wish: dict[str, Any]) -> None:
    """Exactly one way to say what to rent."""
    required = [name for name in FILTERS if wish[name]]
    if wish["offer"] and required:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in required)
        raise click.UsageError(f"--offer names the machine; leave out {names}")
    if not wish["offer"] and not required and not wish["max_price"]:
        raise click.UsageError("say what to rent: --offer ID, or --gpu NAME (or cpu); see: gpuplane offers")
    if wish["at_least"] and wish["at_least"] > (wish["machines"] or 0):
        raise click.UsageError("--at-least needs --machines, and at most that many")


def build_request(client: Client, wish: dict[str, Any]) -> Any:
    """The wish as the API takes it."""
    from gpuplane.v1.instance_pb2 import LAUNCH_MODE_MODEL, LAUNCH_MODE_SSH
    from gpuplane.v1.instance_service_pb2 import CreateInstanceRequest

    key_ids, public_keys = ssh_keys(client, wish["ssh_keys"], wish["no_ssh_key"])
    request = CreateInstanceRequest(
        request_id=wish["request_id"],
        name=wish["name"],
        labels=dict(wish["labels"]),
        max_price_per_hour=wish["max_price"],
        ssh_key_ids=key_ids,
        ssh_public_keys=public_keys,
        image=wish["image"],
        disk_gb=wish["disk"] or 0,
        launch_mode=LAUNCH_MODE_MODEL if wish["model"] else LAUNCH_MODE_SSH,
        model=wish["model"],
        quantization=wish["quantization"],
        env=dict(wish["env"]),
        template_id=wish["template"],
        on_start=wish["on_start"].read() if wish["on_start"] else "",
        ports=wish["ports"],
        max_retries=wish["retries"],
        reservation=wish["reservation"],
        max_duration=wish["max_duration"],
        idle_timeout=wish["idle"],
        preserve_disk=wish["keep_disk"],
    )
    if wish["offer"]:
        request.offer_id = wish["offer"]
    else:
        count = count_to_rent(wish["gpu"], wish["count"])
        wanted = {name: wish[name] for name in FILTERS} | {"count": count}
        request.requirements.CopyFrom(requirements(**wanted))
    return request


def ssh_keys(client: Client, given: tuple[str, ...], none: bool) -> tuple[list[str], list[str]]:
    """Ids of stored keys, and public keys to send along."""
    if none:
        return [], []
    if not given:
        found = sorted((Path.home() / ".ssh").glob("id_*.pub"))
        if not found:
            raise click.UsageError(
                "there is no key in ~/.ssh, so nobody could log in; make one with `ssh-keygen -t ed25519`, "
                "name one by --ssh-key, or say --no-ssh-key"
            )
        return [], [path.read_text().strip() for path in found]
    ids: list[str] = []
    public: list[str] = []
    for text in given:
        path = Path(text).expanduser()
        if path.is_file():
            public.append(public_key(path))
        else:
            ids.append(text if text.startswith("sshkey_") else stored_key(client, text))
    return ids, public


def public_key(path: Path) -> str:
    """The public key in, or beside, the file. A private key never leaves this host."""
    text = path.read_text(errors="replace").strip()
    if "PRIVATE KEY" not in text:
        return text
    beside = path.with_name(f"{path.name}.pub")
    if not beside.is_file():
        raise click.UsageError(f"{path} is a private key and {beside.name} is not there; name the public key")
    return beside.read_text().strip()


def stored_key(client: Client, name: str) -> str:
    """The id of the stored key of that name."""
    from gpuplane.v1.key_service_pb2 import ListSshKeysRequest

    for key in client.list_all(client.keys.ListSshKeys, ListSshKeysRequest(page_size=1000)):
        if key.name == name:
            return str(key.id)
    raise click.UsageError(f"--ssh-key {name}: no such file, and no stored key of that name")
