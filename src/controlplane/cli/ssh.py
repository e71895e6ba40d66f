"""`gpuplane instances ssh`: OpenSSH with the host key that the control plane pinned."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controlplane.cli.base import ApiCommand, connect
from controlplane.cli.errors import Failure
from controlplane.cli.find import INSTANCE, instance_id

if TYPE_CHECKING:
    from gpuplane.v1.instance_pb2 import Connection


@click.command(cls=ApiCommand, context_settings={"ignore_unknown_options": True})
@click.argument("id", type=INSTANCE)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--identity", "-i", type=click.Path(exists=True, dir_okay=False), help="Private key to log in with.")
def ssh(id: str, command: tuple[str, ...], identity: str | None) -> None:
    """Log in to a running machine, or run a command on it.

    \b
      gpuplane instances ssh trainer
      gpuplane instances ssh trainer -- nvidia-smi -L

    The machine must show the host key that the control plane saw when it started it. The exit code is that
    of ssh.
    """
    from gpuplane.v1.instance_service_pb2 import GetConnectionRequest

    program = shutil.which("ssh")
    if not program:
        raise Failure("there is no ssh on this host; install openssh-client")
    with connect() as client:
        connection = client.instances.GetConnection(GetConnectionRequest(id=instance_id(client, id)))
    if not connection.ssh_host:
        where = f"; what it serves is at {connection.model_url}" if connection.model_url else ""
        raise Failure(f"the machine has no SSH{where}")
    with tempfile.TemporaryDirectory(prefix="gpuplane-ssh-") as folder:
        known_hosts = Path(folder, "known_hosts")
        known_hosts.write_text(known_hosts_line(connection))
        arguments = ssh_arguments(connection, known_hosts, identity)
        # Ctrl-C belongs to ssh; we stay to remove the file. (A handler, unlike SIG_IGN, is not inherited.)
        signal.signal(signal.SIGINT, lambda *_: None)
        done = subprocess.run([program, *arguments, *command])
    sys.exit(done.returncode)


def known_hosts_line(connection: Connection) -> str:
    """The pinned key as OpenSSH looks it up."""
    host = connection.ssh_host if connection.ssh_port == 22 else f"[{connection.ssh_host}]:{connection.ssh_port}"
    return f"{host} {connection.ssh_host_key}\n" if connection.ssh_host_key else ""


def ssh_arguments(connection: Connection, known_hosts: Path, identity: str | None) -> list[str]:
    """All that comes before the remote command."""
    options = {
        "UserKnownHostsFile": str(known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes" if connection.ssh_host_key else "accept-new",
        "LogLevel": "ERROR",
    }
    arguments = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    if identity:
        arguments += ["-i", identity, "-o", "IdentitiesOnly=yes"]
    return [*arguments, "-p", str(connection.ssh_port), f"{connection.ssh_user}@{connection.ssh_host}"]
