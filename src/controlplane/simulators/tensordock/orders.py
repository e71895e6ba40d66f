"""What a client asks of TensorDock: the create and modify bodies, and how they are refused.

The marketplace answers a body that breaks its schema with a bare array of `{"code", "message", "path"}`. Members that
it does not know are ignored, as its users found out (providers.md section 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from controlplane.simulators.machines import keys_in

SSH_USER = "user"  # who cloud images let in; root is for `sudo`
HOME = f"/home/{SSH_USER}"
SSH_PORT = 22
MIN_STORAGE_GB = 100
_CODES = {"missing": "invalid_type", "literal_error": "invalid_enum_value", "enum": "invalid_enum_value"}


class _Part(BaseModel):
    """Strict in its types, tolerant of members that it does not know."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class GpuCount(_Part):
    """How many of one GPU model."""

    count: Annotated[int, Field(ge=1, le=64)]


class Resources(_Part):
    """The size of a machine; GPUs by `v0Name`."""

    vcpu_count: Annotated[int, Field(ge=1)]
    ram_gb: Annotated[int, Field(ge=1)]
    storage_gb: Annotated[int, Field(ge=MIN_STORAGE_GB)]
    gpus: Mapping[str, GpuCount] = Field(default_factory=dict)


class PortForward(_Part):
    """One port of the machine and the host's port that leads to it."""

    internal_port: Annotated[int, Field(ge=1, le=65535)]
    external_port: Annotated[int, Field(ge=1, le=65535)]


class WrittenFile(_Part):
    """An entry of cloud-init's `write_files`; there is no `encoding`."""

    path: str
    content: str = ""


class CloudInit(_Part):
    """The part of cloud-init that the marketplace lets through."""

    runcmd: tuple[str | tuple[str, ...], ...] = Field(default=(), strict=False)
    packages: tuple[str, ...] = Field(default=(), strict=False)
    package_update: bool = False
    package_upgrade: bool = False
    write_files: tuple[WrittenFile, ...] = Field(default=(), strict=False)

    def keys(self) -> tuple[str, ...]:
        """The public keys that the machine accepts for `SSH_USER` once this has run."""
        commands = (line if isinstance(line, str) else " ".join(line) for line in self.runcmd)
        texts = [line for line in commands if HOME in line]
        texts += [file.content for file in self.write_files if file.path == f"{HOME}/.ssh/authorized_keys"]
        return tuple(dict.fromkeys(key for text in texts for key in keys_in(text)))


class Order(_Part):
    """`data.attributes` of a create."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    type: Literal["virtualmachine"] = "virtualmachine"
    image: Annotated[str, Field(min_length=1)]
    resources: Resources
    location_id: str | None = None
    hostnode_id: str | None = None
    port_forwards: tuple[PortForward, ...] = Field(default=(), strict=False)
    use_dedicated_ip: bool = Field(default=False, alias="useDedicatedIp")
    ssh_key: str | None = None
    ssh_key_id: str | None = None
    cloud_init: CloudInit = CloudInit()

    @model_validator(mode="after")
    def _rules(self) -> Order:
        """The rules that look at more than one member."""
        if (self.location_id is None) == (self.hostnode_id is None):
            raise PydanticCustomError("custom", "Exactly one of location_id and hostnode_id must be given")
        if (self.ssh_key is None) == (self.ssh_key_id is None):
            raise PydanticCustomError("custom", "Exactly one of ssh_key and ssh_key_id must be given")
        if self.location_id is not None and not self.resources.gpus:
            raise PydanticCustomError("custom", "At least one GPU is required when placing by location")
        if len(self.resources.gpus) > 1:
            raise PydanticCustomError("custom", "Only one GPU model can be used per virtual machine")
        forwarded = any(forward.internal_port == SSH_PORT for forward in self.port_forwards)
        if "ubuntu" in self.image and not self.use_dedicated_ip and not forwarded:
            raise PydanticCustomError("custom", "SSH port (22) must be forwarded for Ubuntu VMs")
        return self

    @property
    def gpu(self) -> str:
        """The `v0Name` of the GPUs asked for; empty for a machine without."""
        return next(iter(self.resources.gpus), "")

    @property
    def gpu_count(self) -> int:
        """How many GPUs are asked for."""
        return sum(gpu.count for gpu in self.resources.gpus.values())


class _OrderData(_Part):
    type: Literal["virtualmachine"]
    attributes: Order


class OrderBody(_Part):
    """The whole body of `POST /instances`."""

    data: _OrderData


class Modification(_Part):
    """The body of `PUT /instances/{id}/modify`: steps of 2 vCPUs, 8 GB of memory and 50 GB of storage."""

    cpu_cores: Annotated[int, Field(ge=2, multiple_of=2)] | None = None
    ram_gb: Annotated[int, Field(ge=8, multiple_of=8)] | None = None
    disk_gb: Annotated[int, Field(ge=MIN_STORAGE_GB, multiple_of=50)] | None = None


class _SecretAttributes(_Part):
    name: Annotated[str, Field(min_length=1)]
    value: Annotated[str, Field(min_length=1)]
    secret_type: Literal["SSHKEY"] = "SSHKEY"


class _SecretData(_Part):
    attributes: _SecretAttributes


class SecretBody(_Part):
    """The body of `POST /secrets`."""

    data: _SecretData


def plain_order(name: str, node_id: str, gpu: str) -> Order:
    """The smallest machine with one GPU on that host node, with no key."""
    size = Resources(vcpu_count=2, ram_gb=4, storage_gb=MIN_STORAGE_GB, gpus={gpu: GpuCount(count=1)})
    return Order(
        name=name, image="ubuntu2204", resources=size, hostnode_id=node_id, useDedicatedIp=True, ssh_key_id="none"
    )


def issues(error: ValidationError) -> list[dict[str, Any]]:
    """What is wrong with a body, in the marketplace's words. Holds nothing of what was sent."""
    return [
        {"code": _code(found["type"]), "message": _message(found["type"], found["msg"]), "path": list(found["loc"])}
        for found in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _code(kind: str) -> str:
    if kind.startswith(("greater_than", "string_too_short")):
        return "too_small"
    if kind.startswith(("less_than", "string_too_long")):
        return "too_big"
    return _CODES.get(kind, "invalid_type" if kind.endswith(("_type", "_parsing")) else "custom")


def _message(kind: str, text: str) -> str:
    return "Required" if kind == "missing" else text
