"""What dialects share: the header that names a request."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from gpuplane.dialects.gpuai.v1 import instances_pb2 as pb

from controlplane.api.call import Call
from controlplane.api.dialects.gpuai.idempotency import RULE
from controlplane.api.dialects.hoonify.translate import IDEMPOTENCY
from controlplane.api.dialects.shared import request_key
from controlplane.api.methods import Method
from controlplane.domain.errors import InvalidArgument
from controlplane.usecases.idempotency import RequestIdRule


class Context:
    """As much of gRPC's as a call needs."""

    def __init__(self, *metadata: tuple[str, str]) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> Any:
        return self._metadata


def id_of(rule: RequestIdRule, *values: str) -> str:
    context = Context(("x-other", ""), *((rule.field.lower(), value) for value in values))
    method = Method("", "unknown", "", "", pb.CreateInstanceRequest, pb.Operation, False, False)
    call = Call(context, dict(context.invocation_metadata()), method, asyncio.Event())
    key = request_key(pb.CreateInstanceRequest(), call, rule)
    key.check()
    return key.id


@pytest.mark.parametrize("rule", [RULE, IDEMPOTENCY], ids=lambda rule: rule.field)
def test_a_name_is_sent_once_and_is_not_empty(rule: RequestIdRule) -> None:
    assert id_of(rule) == "", "not named"
    assert id_of(rule, "k") == "k"
    with pytest.raises(InvalidArgument, match=f"{rule.field} must be 1 to {rule.longest} .*got ''"):
        id_of(rule, "")
    for values in (("a", "b"), ("a", "a"), ("", "a"), ("a", "")):
        with pytest.raises(InvalidArgument, match=f"{rule.field} must be sent once"):
            id_of(rule, *values)
