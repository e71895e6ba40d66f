"""`gpuplane credentials`: your own keys at marketplaces."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from controlplane.cli.base import Group, common, connect


@click.group(cls=Group)
def credentials() -> None:
    """Rent under your own keys at marketplaces."""


@credentials.command()
@click.argument("provider")
@click.argument("name", required=False)
@click.option(
    "--secret-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="Read the key from FILE.  [default: ask for it, or read it from a pipe]",
)  # fmt: skip
@click.option("--request-id", default="", help="Repeating with the same id makes nothing more.")
def add(provider: str, name: str | None, secret_file: Path | None, request_id: str) -> None:
    """Store a key of PROVIDER, called NAME (default: as the provider).

    \b
      gpuplane credentials add vastai --secret-file ~/.vast_api_key
      pass show tensordock | gpuplane credentials add tensordock

    For TensorDock it is TOKEN, or AUTHORIZATION_ID:TOKEN. What is rented there from now on is on your bill at the
    marketplace.
    """
    from gpuplane.v1.provider_credential_service_pb2 import CreateProviderCredentialRequest

    from controlplane.cli.output import print_json

    request = CreateProviderCredentialRequest(
        provider=provider, name=name or provider, secret=_secret(provider, secret_file), request_id=request_id
    )
    with connect() as client:
        made = client.provider_credentials.CreateProviderCredential(request)
    if common().json:
        print_json(made)
    else:
        click.echo(f"{made.id} is used for {made.provider} from now on")


@credentials.command("list")
def list_() -> None:
    """List credentials, newest first, revoked ones too."""
    from gpuplane.v1.provider_credential_service_pb2 import ListProviderCredentialsRequest

    from controlplane.cli.output import print_json, print_table
    from controlplane.cli.values import format_age

    with connect() as client:
        request = ListProviderCredentialsRequest(page_size=1000)
        found = list(client.list_all(client.provider_credentials.ListProviderCredentials, request))
    if common().json:
        print_json(found)
        return
    rows = [(c.id, c.provider, c.name, c.fingerprint, _state(c), format_age(c.create_time)) for c in found]
    headings = ("ID", "PROVIDER", "NAME", "FINGERPRINT", "STATE", "AGE")
    print_table(headings, rows, keep=("ID", "STATE", "AGE"), empty="no credentials of your own")


@credentials.command()
@click.argument("id", metavar="CREDENTIAL")
def revoke(id: str) -> None:
    """Rent nothing more under a credential, for good. Machines rented under it run on."""
    from gpuplane.v1.provider_credential_service_pb2 import RevokeProviderCredentialRequest

    from controlplane.cli.output import print_json

    with connect() as client:
        row = client.provider_credentials.RevokeProviderCredential(RevokeProviderCredentialRequest(id=id))
    if common().json:
        print_json(row)
        return
    click.echo(f"{row.id} ({row.name}) is revoked")
    if row.secret_held:
        hint = "keep the key valid there until it is erased here: machines may still have to be returned with it"
        click.echo(hint, err=True)


def _secret(provider: str, file: Path | None) -> str:
    """The key: from a file, a pipe, or a person; never from the command line, where others on the host see it."""
    if file is not None:
        text = file.read_text()
    elif sys.stdin.isatty():
        text = click.prompt(f"key of {provider}", hide_input=True, err=True)
    else:
        text = sys.stdin.read()
    return text.strip()


def _state(credential: Any) -> str:
    if not credential.HasField("revoke_time"):
        return "in use"
    return "revoked, still held" if credential.secret_held else "revoked, erased"
