"""`gpuplane keys`: SSH keys for machines, API keys for programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from controlplane.cli.base import Group, common, connect
from controlplane.cli.values import UNTIL


@click.group()
def keys() -> None:
    """Manage SSH keys and API keys."""


@keys.group("ssh", cls=Group)
def ssh() -> None:
    """Public keys to install on machines."""


@ssh.command("create")
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--request-id", default="", help="Repeating with the same id makes nothing more.")
def create_ssh(name: str, file: Path, request_id: str) -> None:
    """Store the public key in FILE under NAME."""
    from gpuplane.v1.key_service_pb2 import CreateSshKeyRequest

    from controlplane.cli.create import public_key

    request = CreateSshKeyRequest(name=name, public_key=public_key(file), request_id=request_id)
    with connect() as client:
        _show_ssh(client.keys.CreateSshKey(request))


@ssh.command("list")
def list_ssh() -> None:
    """List stored SSH keys, newest first."""
    from gpuplane.v1.key_service_pb2 import ListSshKeysRequest

    from controlplane.cli.output import print_json, print_table
    from controlplane.cli.values import format_age

    with connect() as client:
        found = list(client.list_all(client.keys.ListSshKeys, ListSshKeysRequest(page_size=1000)))
    if common().json:
        print_json(found)
        return
    rows = [(key.id, key.name, key.fingerprint, format_age(key.create_time)) for key in found]
    print_table(("ID", "NAME", "FINGERPRINT", "AGE"), rows, keep=("ID", "AGE"), empty="no SSH keys are stored")


@ssh.command("get")
@click.argument("id")
def get_ssh(id: str) -> None:
    """Show one SSH key."""
    from gpuplane.v1.key_service_pb2 import GetSshKeyRequest

    with connect() as client:
        _show_ssh(client.keys.GetSshKey(GetSshKeyRequest(id=id)))


@ssh.command("delete")
@click.argument("id")
def delete_ssh(id: str) -> None:
    """Forget an SSH key. Machines on which it is installed keep it."""
    from gpuplane.v1.key_service_pb2 import DeleteSshKeyRequest

    with connect() as client:
        client.keys.DeleteSshKey(DeleteSshKeyRequest(id=id))
    click.echo(f"{id} is forgotten", err=True)


@keys.group("api", cls=Group)
def api() -> None:
    """Keys with which programs call gpuplane."""


@api.command("create")
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True,
    help="E.g. instances:read. Repeatable.  [default: all of yours that the format can have; of hoon_*: "
    "inference:read and inference:write]",
)  # fmt: skip
@click.option("--expires", type=UNTIL, help="Stop working then: a date, or a duration from now, e.g. 30d.")
@click.option("--account", default="", metavar="ID", help="For this account; needs the operator key.")
@click.option(
    "--format", "key_format", default="",
    help="gp_live, gpuai_live, hoon_sk_live, hoon_sk_test, hoon_pk_live or shopper_live: decides the API that the key "
    "opens. An API's name (gpuai, hoonify, shopper) means its first.  [default: gp_live]",
)  # fmt: skip
def create_api(name: str, scopes: tuple[str, ...], expires: Any, account: str, key_format: str) -> None:
    """Make an API key. Its secret is shown now and never again."""
    from gpuplane.v1.key_service_pb2 import CreateApiKeyRequest

    from controlplane.cli.output import print_json

    request = CreateApiKeyRequest(
        name=name, scopes=scopes, expire_time=expires, account_id=account, key_format=key_format
    )
    with connect(operator=bool(account)) as client:
        made = client.keys.CreateApiKey(request)
    if common().json:
        print_json(made)
        return
    click.echo(
        f"{made.api_key.id} ({name}) may do {', '.join(made.api_key.scopes)}; its secret, shown only now:",
        err=True,
    )
    click.echo(made.secret)


@api.command("list")
def list_api() -> None:
    """List API keys, newest first, revoked ones too."""
    from gpuplane.v1.key_service_pb2 import ListApiKeysRequest

    from controlplane.cli.output import print_json, print_table
    from controlplane.cli.values import format_age

    with connect() as client:
        found = list(client.list_all(client.keys.ListApiKeys, ListApiKeysRequest(page_size=1000)))
    if common().json:
        print_json(found)
        return
    rows = [
        (key.id, key.name, f"{key.prefix}…", _life(key), format_age(key.create_time), " ".join(key.scopes))
        for key in found
    ]
    headings = ("ID", "NAME", "SECRET", "STATE", "AGE", "SCOPES")
    print_table(headings, rows, keep=("ID", "STATE", "AGE"), empty="no API keys")


@api.command("revoke")
@click.argument("id")
def revoke_api(id: str) -> None:
    """End an API key, for good, within a second."""
    from gpuplane.v1.key_service_pb2 import RevokeApiKeyRequest

    from controlplane.cli.output import print_json

    with connect() as client:
        key = client.keys.RevokeApiKey(RevokeApiKeyRequest(id=id))
    print_json(key) if common().json else click.echo(f"{key.id} ({key.name}) is revoked")


def _show_ssh(key: Any) -> None:
    from controlplane.cli.output import print_details, print_json
    from controlplane.cli.values import format_time

    if common().json:
        print_json(key)
        return
    print_details(
        [
            ("id", key.id),
            ("name", key.name),
            ("fingerprint", key.fingerprint),
            ("public key", key.public_key),
            ("created", format_time(key.create_time)),
        ]
    )


def _life(key: Any) -> str:
    from datetime import UTC, datetime

    from controlplane.cli.values import to_datetime

    if key.HasField("revoke_time"):
        return "revoked"
    if key.HasField("expire_time"):
        end = to_datetime(key.expire_time)
        return "expired" if end <= datetime.now(UTC) else f"until {end:%Y-%m-%d}"
    return "works"
