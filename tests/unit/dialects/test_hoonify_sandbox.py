"""Test keys know pretended hardware only, however much else lies between."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from gpuplane.dialects.hoonify.v1 import instances_pb2 as pb

from controlplane.api.dialects.hoonify import instances
from controlplane.api.dialects.hoonify.instances import Instances
from controlplane.wire.instance import instance_message
from tests.support.fakes import instance

IDS = [f"inst_{number:026}" for number in range(30, 0, -1)]
PRETENDED = IDS[3::7]


class Store:
    """Pages of IDS, newest first."""

    async def messages(self, scope: object, query: object, before: str, limit: int) -> list[tuple[str, bytes]]:
        found = [id for id in IDS if not before or id < before][:limit]
        rows = (instance(id, simulated=id in PRETENDED, gpu_type="cpu") for id in found)
        return [(row.id, instance_message(row).SerializeToString()) for row in rows]


@pytest.mark.parametrize("read_at_once", [1, 2, 4, 15, 1000])
@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
async def test_pages_are_full(monkeypatch: pytest.MonkeyPatch, read_at_once: int, limit: int) -> None:
    monkeypatch.setattr(instances, "MAX_LIMIT", read_at_once)
    plane: Any = SimpleNamespace(
        core=SimpleNamespace(store=Store()), options={"hoonify_minimum": 0, "hoonify_nearest": "na"}
    )
    servicer: Any = Instances(plane, None)  # type: ignore[arg-type]
    for prefix, wanted in (("hoon_sk_test_", PRETENDED), ("hoon_sk_live_", IDS)):
        principal = SimpleNamespace(scope=None, scopes=())
        call: Any = SimpleNamespace(metadata={"authorization": f"Bearer {prefix}x"}, principal=principal)
        answers: list[str] = []
        more = True
        while more:
            request = pb.ListInstancesRequest(limit=limit, after="".join(answers[-1:]))
            page = await servicer.list_instances(request, call)
            answers += [row.id for row in page.data]
            more = page.has_more
            assert len(page.data) == limit or not more
        assert answers == wanted
