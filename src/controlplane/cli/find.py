"""Things by what people call them: id, the beginning of an id, or a name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from controlplane.cli.base import Common
from controlplane.cli.errors import Failure

if TYPE_CHECKING:
    from gpuplane.v1.instance_pb2 import Instance
    from gpuplane_client import Client

_FULL_ID = re.compile(r"inst_[0-9a-v]{26}")


def instance_id(client: Client, text: str) -> str:
    """The id that the text means. Machines that still live win over ended ones of the same name."""
    if _FULL_ID.fullmatch(text):
        return text
    from gpuplane.v1.instance_service_pb2 import ListInstancesRequest

    request = ListInstancesRequest(page_size=1000)
    matches = [i for i in client.list_all(client.instances.ListInstances, request) if _matches(i, text)]
    living = [instance for instance in matches if not instance.HasField("end_time")]
    chosen = living or matches
    if len(chosen) == 1:
        return str(chosen[0].id)
    if not chosen:
        raise Failure(f"no instance has the name or id {text!r}; see: gpuplane instances list")
    some = ", ".join(instance.id for instance in chosen[:5])
    raise Failure(f"{text!r} means {len(chosen)} instances; give the id: {some}")


def budget_id(client: Client, text: str) -> str:
    """The id of the budget with that id or name; names are unique."""
    from gpuplane.v1.budget_service_pb2 import ListBudgetsRequest

    if text.startswith("budget_"):
        return text
    found = [b.id for b in client.budgets.ListBudgets(ListBudgetsRequest()).budgets if b.name == text]
    if not found:
        raise Failure(f"no budget has the name or id {text!r}; see: gpuplane budgets list")
    return str(found[0])


def _matches(instance: Instance, text: str) -> bool:
    return instance.name == text or (text.startswith("inst_") and instance.id.startswith(text))


class InstanceType(click.ParamType[str]):
    """An instance argument; the shell completes ids and names of living machines."""

    name = "instance"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        from click.shell_completion import CompletionItem

        try:
            found = _living(ctx)
        except Exception:
            return []
        items = [CompletionItem(i.id, help=i.name) for i in found]
        items += [CompletionItem(i.name, help=i.id) for i in found if i.name]
        return [item for item in items if item.value.startswith(incomplete)]


def _living(ctx: click.Context) -> list[Instance]:
    from gpuplane.v1.instance_service_pb2 import ListInstancesRequest
    from gpuplane_client import Client, discover

    options = ctx.ensure_object(Common)
    config = discover(options.state, endpoint=options.endpoint)
    with Client(config.endpoint, config.key, retry_for=0) as client:
        request = ListInstancesRequest(active_only=True, page_size=100)
        return list(client.instances.ListInstances(request, timeout=1).instances)


INSTANCE = InstanceType()
