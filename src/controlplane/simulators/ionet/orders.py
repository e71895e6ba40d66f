"""What a client asks of io.net: the request bodies and queries, and how they are refused.

The marketplace is a FastAPI service whose request models refuse members that they do not know; its 422 is reproduced
by validating with the same library.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from controlplane.simulators.machines import public_key

Hours = Annotated[int, Field(ge=1, le=8760)]
HardwareId = int | str
Port = Annotated[int, Field(ge=1, le=65535)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Placed(_Body):
    """Where a deployment is to run: in one public location or in a private node pool, or wherever there is room."""

    location_ids: Annotated[list[HardwareId], Field(min_length=1, max_length=1)] | None = None
    node_pool_id: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> _Placed:
        if self.location_ids is not None and self.node_pool_id is not None:
            raise PydanticCustomError("value_error", "location_ids and node_pool_id are mutually exclusive")
        return self

    @property
    def location(self) -> str | None:
        """The id of the location asked for."""
        return None if self.location_ids is None else str(self.location_ids[0])


class NetworkService(_Body):
    """A port opened on a VM, and to whom (CIDR blocks)."""

    port: Port
    protocol: Literal["tcp", "udp"]
    whitelist: Annotated[list[str], Field(min_length=1)]


class VmOrder(_Placed):
    """The body of `POST vmaas/deploy`. `hardware_id` is a hardware row's `deploy_id`."""

    resource_private_name: Annotated[str, Field(min_length=1, max_length=255)]
    hardware_id: HardwareId
    duration_hours: Hours
    gpus_per_vm: Annotated[int, Field(ge=1, le=8)]
    ssh_keys: dict[str, str] = Field(default_factory=dict)
    github_ids: list[str] = Field(default_factory=list)
    vm_image_type: Literal["general", "datascience"] = "general"
    network_services: dict[str, NetworkService] = Field(default_factory=dict)

    @field_validator("ssh_keys")
    @classmethod
    def _public(cls, keys: dict[str, str]) -> dict[str, str]:
        if not all(public_key(line) for line in keys.values()):
            raise PydanticCustomError("value_error", "Value error, each SSH key must be an OpenSSH public key")
        return keys

    @property
    def gpus(self) -> int:
        """GPUs paid for."""
        return self.gpus_per_vm


class ContainerConfig(_Body):
    """What runs in each container of a CaaS deployment."""

    replica_count: Annotated[int, Field(ge=1, le=100)]
    traffic_port: Port
    env_variables: dict[str, str] = Field(default_factory=dict)
    secret_env_variables: dict[str, str] = Field(default_factory=dict)
    entrypoint: list[str] | None = None
    args: list[str] | None = None
    command: str | None = None
    public_ingress_enabled: bool | None = None
    tls_required: bool | None = None


class RegistryConfig(_Body):
    """The image and, for a private one, its registry's log-in."""

    image_url: Annotated[str, Field(min_length=1)]
    registry_username: str | None = None
    registry_secret: str | None = None


class ContainerOrder(_Placed):
    """The body of `POST caas/deploy`."""

    resource_private_name: Annotated[str, Field(min_length=1, max_length=255)]
    hardware_id: HardwareId
    duration_hours: Hours
    gpus_per_container: Annotated[int, Field(ge=1, le=8)]
    container_config: ContainerConfig
    registry_config: RegistryConfig
    resource_id: str | None = None
    payment_source: Literal["credits", "payment"] = "credits"
    on_incomplete_booking: Literal["full_refund", "partial_refund", "extend_booked"] = "full_refund"

    @property
    def gpus(self) -> int:
        """GPUs paid for, over all replicas."""
        return self.gpus_per_container * self.container_config.replica_count

    def patched(self, patch: ContainerPatch) -> ContainerOrder:
        """The order as a PATCH changes it: only what the patch names; a secret set to null goes."""
        changes = patch.model_dump(exclude_unset=True)
        registry = {name: changes.pop(name) for name in list(changes) if name in RegistryConfig.model_fields}
        if "secret_env_variables" in changes:
            merged = self.container_config.secret_env_variables | (changes["secret_env_variables"] or {})
            changes["secret_env_variables"] = {name: value for name, value in merged.items() if value is not None}
        if "env_variables" in changes:
            changes["env_variables"] = changes["env_variables"] or {}
        return self.model_copy(
            update={
                "container_config": self.container_config.model_copy(update=changes),
                "registry_config": self.registry_config.model_copy(update=registry),
            }
        )


class ContainerPatch(_Body):
    """The body of `PATCH caas/deployment/{id}`: flat; what is absent stays as it is, null clears."""

    env_variables: dict[str, str] | None = None
    secret_env_variables: dict[str, str | None] | None = None
    entrypoint: list[str] | None = None
    args: list[str] | None = None
    command: str | None = None
    traffic_port: Port | None = None
    image_url: str | None = None
    registry_username: str | None = None
    registry_secret: str | None = None
    public_ingress_enabled: bool | None = None
    tls_required: bool | None = None


class Extension(_Body):
    """The body of `POST .../extend`: hours bought on top."""

    duration_hours: Hours


class Question(BaseModel):
    """The query of `GET .../price`. `location_ids` is a JSON array in one parameter; vmaas requires it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    hardware_id: HardwareId
    duration_hours: Hours
    replica_count: Annotated[int, Field(ge=1)] = 1
    location_ids: list[HardwareId] | None = None

    @field_validator("location_ids", mode="before")
    @classmethod
    def _array(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            raise PydanticCustomError("value_error", "location_ids must be a JSON array") from None


class VmQuestion(Question):
    """What a VM would cost."""

    location_ids: list[HardwareId]
    gpus_per_vm: Annotated[int, Field(ge=1, le=8)]
    currency: Literal["usdc"] = "usdc"

    @property
    def gpus(self) -> int:
        """GPUs in each replica."""
        return self.gpus_per_vm


class ContainerQuestion(Question):
    """What a CaaS deployment would cost."""

    gpus_per_container: Annotated[int, Field(ge=1, le=8)]

    @property
    def gpus(self) -> int:
        """GPUs in each replica."""
        return self.gpus_per_container


class AvailabilityQuestion(BaseModel):
    """The query of `GET vmaas/available-vms`; integer ids only."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    hardware_id: int
    hardware_qty: Annotated[int, Field(ge=1, le=8)] = 1


class Paging(BaseModel):
    """The query of every listing."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    page: Annotated[int, Field(ge=1)] = 1
    page_size: Annotated[int, Field(ge=1, le=100)] = 10
    status: str | None = None


def details(error: ValidationError, where: str) -> list[dict[str, Any]]:
    """The `detail` of a 422; `where` is "body" or "query". Holds nothing of what was sent."""
    return [
        {"loc": [where, *found["loc"]], "msg": found["msg"], "type": found["type"]}
        for found in error.errors(include_url=False, include_context=False, include_input=False)
    ]
