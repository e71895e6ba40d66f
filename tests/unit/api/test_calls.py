import asyncio
import json

import grpc
import pytest
from google.rpc import error_details_pb2
from gpuplane.v1 import operation_pb2, operation_service_pb2

from controlplane.api.interceptors.limits import Limits
from controlplane.dialect import CANONICAL, Dialect, RenderedError

BLOB = operation_pb2.Operation(id="op-1").SerializeToString() + b"\xfa\x7f\x03abc"
Code = grpc.StatusCode


def lines(farm):
    return [json.loads(line) for line in farm.log.getvalue().splitlines()]


def counted(farm, method, code):
    labels = {"method": f"gpuplane.v1.Operations/{method}", "code": code}
    return farm.metrics.registry.get_sample_value("gpuplane_rpcs_total", labels)


async def test_bytes_pass_untouched_and_messages_are_serialized(farm):
    assert await farm.get("bytes") == BLOB
    assert operation_pb2.Operation.FromString(await farm.get("message")).id == "op-2"
    assert counted(farm, "GetOperation", "OK") == 2


async def test_streams_mix_bytes_and_messages(farm):
    got = [raw async for raw in farm.watch("three")]
    assert got == [b"", operation_service_pb2.OperationEvent(coalesced=True).SerializeToString(), b""]
    assert [raw async for raw in farm.watch("empty")] == []
    assert counted(farm, "WatchOperation", "OK") == 2


async def test_a_refusal_carries_its_details(farm, ended):
    end = await ended(farm.get("missing", x_request_id="mine-1"))
    assert end.code is Code.NOT_FOUND
    assert end.message == "there is no operation 'op-9' in this account" == end.status.message
    assert end.info.reason == "RESOURCE_NOT_FOUND"
    assert dict(end.info.metadata) == {"resource": "operation", "id": "op-9"}
    assert end.trailing["x-request-id"] == "mine-1"
    (line,) = [line for line in lines(farm) if line["event"] == "call failed"]
    assert line["level"] == "info"
    assert line["request_id"] == "mine-1"
    assert line["account"] == "acct_1"
    assert line["code"] == "NOT_FOUND"
    assert line["method"] == "gpuplane.v1.Operations/GetOperation"
    assert counted(farm, "GetOperation", "NOT_FOUND") == 1


async def test_a_fault_of_ours_leaks_nothing(farm, ended):
    end = await ended(farm.get("boom"))
    assert end.code is Code.INTERNAL
    assert end.info.reason == "INTERNAL"
    assert "secret" not in end.message + str(end.trailing)
    assert end.info.metadata["request_id"] == end.trailing["x-request-id"]
    (line,) = [line for line in lines(farm) if line["event"] == "call failed"]
    assert line["level"] == "error"
    assert "boom secret sauce" in line["exception"]
    assert "get_operation" in line["exception"]
    assert line["request_id"] == end.trailing["x-request-id"]


async def test_text_of_any_language_travels(farm, ended):
    end = await ended(farm.get("field"))
    assert end.message == "id must be a UUID; got 's\\xe9cr\\xe8te\\n'"
    violation = end.detail(error_details_pb2.BadRequest).field_violations[0]
    assert (violation.field, violation.description) == ("id", "must be a UUID")


@pytest.mark.parametrize("given", ["has space", "x" * 129, "semi;colon", ""])
async def test_a_malformed_request_id_is_replaced(farm, ended, given):
    end = await ended(farm.get("missing", x_request_id=given))
    assert end.trailing["x-request-id"] not in ("", given)


class TestKeys:
    async def test_none(self, farm, ended):
        end = await ended(farm.get("bytes", token=None))
        assert (end.code, end.info.reason) == (Code.UNAUTHENTICATED, "KEY_MISSING")

    async def test_another_scheme(self, farm, ended):
        end = await ended(farm.get("bytes", token=None, authorization="Basic cmVhZGVy"))
        assert (end.code, end.info.reason) == (Code.UNAUTHENTICATED, "KEY_INVALID")

    async def test_an_unknown_one(self, farm, ended):
        end = await ended(farm.get("bytes", token="nobody"))
        assert (end.code, end.info.reason) == (Code.UNAUTHENTICATED, "KEY_INVALID")
        assert farm.servicer.calls == []

    async def test_a_known_one_needs_no_look_up(self, farm):
        await farm.get("bytes")
        assert farm.authenticator.lookups == 0
        assert farm.servicer.calls[0].principal.account_id == "acct_1"

    async def test_a_look_up_that_breaks_leaks_nothing(self, farm, ended):
        end = await ended(farm.get("bytes", token="broken"))
        assert end.code is Code.INTERNAL
        assert "secret" not in end.message + str(end.trailing)

    async def test_a_scope_short(self, farm, ended):
        end = await ended(farm.get("bytes", method="CancelOperation"))
        assert (end.code, end.info.reason) == (Code.PERMISSION_DENIED, "SCOPE_MISSING")
        assert end.info.metadata["scope"] == "instances:write"
        end = await ended(farm.watch("three", token="stranger").read())
        assert end.info.metadata["scope"] == "instances:read"

    async def test_an_operator_has_every_scope(self, farm):
        await farm.get("bytes", method="CancelOperation", token="operator")

    async def test_requests_of_strangers_are_not_parsed(self, farm, ended):
        end = await ended(farm.get(b"\x0a\x02\xff\xfe", token="nobody"))
        assert end.code is Code.UNAUTHENTICATED


class TestRequests:
    async def test_invalid_utf8(self, farm, ended):
        end = await ended(farm.get(b"\x0a\x02\xff\xfe"))
        assert (end.code, end.info.reason) == (Code.INVALID_ARGUMENT, "INVALID_FIELD")
        assert end.message.endswith("GetOperationRequest: String field had bad UTF-8")
        assert farm.servicer.calls == []

    async def test_garbage(self, farm, ended):
        end = await ended(farm.get(b"\xff\xff\xff\xff"))
        assert (end.code, end.info.reason) == (Code.INVALID_ARGUMENT, "INVALID_FIELD")

    async def test_garbage_on_a_stream(self, farm, ended):
        watch = farm.channel.unary_stream("/gpuplane.v1.Operations/WatchOperation")
        end = await ended(watch(b"\x0a\x02\xff\xfe", metadata=(("authorization", "Bearer reader"),)).read())
        assert (end.code, end.info.reason) == (Code.INVALID_ARGUMENT, "INVALID_FIELD")
        labels = {"method": "gpuplane.v1.Operations/WatchOperation"}
        assert not farm.metrics.registry.get_sample_value("gpuplane_streams_open", labels)

    async def test_too_large(self, farm, ended):
        end = await ended(farm.get("x" * (4 << 20)))
        assert (end.code, end.info.reason) == (Code.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE")

    async def test_far_too_large_is_refused_by_grpc(self, farm, ended):
        end = await ended(farm.get("x" * (8 << 20)))
        assert end.code is Code.RESOURCE_EXHAUSTED
        assert "larger than max" in end.message

    async def test_an_unknown_method(self, farm, ended):
        end = await ended(farm.get("bytes", method="Nothing"))
        assert (end.code, end.info.reason) == (Code.UNIMPLEMENTED, "METHOD_UNKNOWN")
        assert end.message == "there is no method /gpuplane.v1.Operations/Nothing"
        upload = farm.channel.stream_unary("/gpuplane.v1.Nothing/Upload")
        assert (await ended(upload(iter([b"a", b"b"])))).info.reason == "METHOD_UNKNOWN"


class TestLimits:
    async def test_the_rate_of_a_key(self, start, ended):
        farm = await start(limits=Limits(calls_per_second=0.5, calls_burst=2))
        await farm.get("bytes")
        await farm.get("bytes")
        end = await ended(farm.get("bytes"))
        assert (end.code, end.info.reason) == (Code.RESOURCE_EXHAUSTED, "RATE_LIMITED")
        assert end.trailing["retry-after"] == "2"
        assert dict(end.info.metadata) == {"limit": "0.5", "retry_after_s": "2"}
        assert 1.5 < end.detail(error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() / 1000 <= 2
        await farm.get("bytes", token="operator")  # another key is not held back

    async def test_refusals_count(self, start, ended):
        farm = await start(limits=Limits(calls_per_second=0.5, calls_burst=2))
        reasons = [(await ended(farm.get("bytes", method="CancelOperation"))).info.reason for _ in range(3)]
        assert reasons == ["SCOPE_MISSING", "SCOPE_MISSING", "RATE_LIMITED"]

    async def test_streams_of_a_key(self, start, ended, until):
        farm = await start(limits=Limits(streams=2))
        first, second = farm.watch("forever"), farm.watch("forever")
        await first.read()
        await second.read()
        end = await ended(farm.watch("forever").read())
        assert (end.code, end.info.reason) == (Code.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
        assert dict(end.info.metadata) == {"resource": "stream", "limit": "2"}
        first.cancel()
        await until(lambda: farm.servicer.open == 1)
        await farm.watch("forever").read()

    async def test_failed_streams_are_counted_out(self, start, ended):
        farm = await start(limits=Limits(streams=1))
        for _ in range(3):
            assert (await ended(farm.watch("missing").read())).code is Code.NOT_FOUND


class TestCancel:
    async def test_a_unary_call(self, farm, until):
        call = asyncio.ensure_future(farm.get("slow"))
        await farm.servicer.entered.wait()
        call.cancel()
        await until(lambda: counted(farm, "GetOperation", "CANCELLED"))
        assert farm.servicer.cancelled.is_set()
        assert "call failed" not in farm.log.getvalue()

    async def test_a_stream_is_closed_at_once(self, farm, until):
        stream = farm.watch("forever")
        await stream.read()
        assert farm.servicer.open == 1
        stream.cancel()
        await until(lambda: farm.servicer.open == 0)

    async def test_a_deadline_is_seen_and_ends_the_handler(self, farm, ended):
        get = farm.channel.unary_unary("/gpuplane.v1.Operations/GetOperation")
        raw = operation_service_pb2.GetOperationRequest(id="slow").SerializeToString()
        end = await ended(get(raw, timeout=0.2, metadata=(("authorization", "Bearer reader"),)))
        assert end.code is Code.DEADLINE_EXCEEDED
        assert 0 <= farm.servicer.calls[0].time_remaining() <= 0.2
        async with asyncio.timeout(5):
            await farm.servicer.cancelled.wait()
        await farm.get("bytes")
        assert farm.servicer.calls[1].time_remaining() is None


class TestRest:
    async def test_native_callers_see_no_http(self, farm):
        get = farm.channel.unary_unary("/gpuplane.v1.Operations/GetOperation")
        raw = operation_service_pb2.GetOperationRequest(id="accepted").SerializeToString()
        call = get(raw, metadata=(("authorization", "Bearer reader"),))
        assert await call == BLOB
        assert "x-http-status" not in dict(await call.initial_metadata())
        assert not farm.servicer.calls[0].is_rest

    async def test_rest_callers_get_status_and_headers(self, farm):
        get = farm.channel.unary_unary("/gpuplane.v1.Operations/GetOperation")
        raw = operation_service_pb2.GetOperationRequest(id="accepted").SerializeToString()
        call = get(raw, metadata=(("authorization", "Bearer reader"), ("x-dialect", "gpuplane")))
        assert await call == BLOB
        headers = dict(await call.initial_metadata())
        assert (headers["x-http-status"], headers["operation-id"]) == ("202", "op-1")
        assert farm.servicer.calls[0].dialect == "gpuplane"

    async def test_a_dialect_renders_errors_for_its_callers_only(self, start, ended):
        def render(error, request_id):
            return RenderedError(410, "application/json", {"error": error.reason, "request_id": request_id})

        shopper = Dialect("shopper", (), port_offset=1, claims=(), local_replies=(), render_error=render)
        farm = await start(dialects=[CANONICAL, shopper])
        end = await ended(farm.get("missing", x_dialect="shopper", x_request_id="r1"))
        assert end.trailing["x-http-status"] == "410"
        assert end.trailing["x-http-body"] == '{"error": "RESOURCE_NOT_FOUND", "request_id": "r1"}'
        for other in ({}, {"x_dialect": CANONICAL.name}):
            assert "x-http-body" not in (await ended(farm.get("missing", **other))).trailing

    async def test_streams_cannot_set_headers(self, farm, ended):
        end = await ended(farm.watch("header", x_dialect="gpuplane").read())
        assert end.code is Code.INTERNAL


class TestStreamErrors:
    async def test_before_the_first_message(self, farm, ended):
        end = await ended(farm.watch("missing").read())
        assert (end.code, end.info.reason) == (Code.NOT_FOUND, "RESOURCE_NOT_FOUND")

    async def test_after_it(self, farm, ended):
        stream = farm.watch("late")
        assert await stream.read() == b""
        end = await ended(stream.read())
        assert end.code is Code.INTERNAL
        assert "secret" not in end.message
