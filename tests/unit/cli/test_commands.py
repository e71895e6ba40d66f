"""What commands print, as tables and as JSON, and what they ask the server for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import grpc
import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty
from google.type.money_pb2 import Money
from gpuplane.v1 import budget_service_pb2 as budget_pb
from gpuplane.v1 import instance_pb2, operation_pb2, system_service_pb2, usage_service_pb2
from gpuplane.v1.account_service_pb2 import Account, ListAccountsResponse
from gpuplane.v1.instance_service_pb2 import Diagnostics, InstanceLogs, ListInstancesResponse
from gpuplane.v1.key_pb2 import ApiKey, SshKey
from gpuplane.v1.key_service_pb2 import CreateApiKeyResponse, ListApiKeysResponse, ListSshKeysResponse
from gpuplane.v1.offer_pb2 import TIER_SPOT, GpuType
from gpuplane.v1.offer_service_pb2 import ListGpuTypesResponse, ListOffersResponse
from gpuplane.v1.operation_service_pb2 import ListOperationsResponse

from controlplane.bootstrap.dialects import key_formats
from tests.unit.cli import canned
from tests.unit.cli.conftest import Run
from tests.unit.client.fake import FakePlane, Refusal

TEN = Money(currency_code="USD", units=10)
BUDGET = budget_pb.Budget(
    id="budget_1", name="team", limit=TEN, spent=TEN, held=TEN, period=budget_pb.BUDGET_PERIOD_MONTH
)


def test_instances_list(cli: Run, plane: FakePlane) -> None:
    plane.on("ListInstances", ListInstancesResponse(instances=[canned.instance()]))
    result = cli("instances", "list")
    assert result.code == 0
    heading, row = result.out.splitlines()
    assert heading.split() == ["ID", "NAME", "STATE", "GPU", "PRICE", "AGE", "PROVIDER"]
    for part in (canned.ID, "trainer", "running", "1x RTX 4090", "$0.45/h", "local simulated"):
        assert part in row
    assert plane.requests("ListInstances")[0].active_only
    assert plane.calls[0].metadata["authorization"] == "Bearer gp_test"


def test_instances_list_as_json_is_what_rest_shows(cli: Run, plane: FakePlane) -> None:
    plane.on("ListInstances", ListInstancesResponse(instances=[canned.instance()]))
    (shown,) = json.loads(cli("instances", "list", "-o", "json").out)
    assert shown["id"] == canned.ID
    assert shown["state"] == "INSTANCE_STATE_RUNNING"
    assert shown["price_per_hour"] == {"currency_code": "USD", "units": "0", "nanos": 450_000_000}
    assert shown["labels"] == {}


def test_instances_list_empty(cli: Run, plane: FakePlane) -> None:
    plane.on("ListInstances", ListInstancesResponse())
    result = cli("instances", "list")
    assert (result.code, result.out) == (0, "")
    assert "no machines are running" in result.err
    assert cli("instances", "list", "-o", "json").out == "[]\n"


def test_instances_list_filters(cli: Run, plane: FakePlane) -> None:
    plane.on("ListInstances", ListInstancesResponse())
    cli("instances", "list", "-s", "failed", "--provider", "vastai", "-l", "team=a")
    asked = plane.requests("ListInstances")[0]
    assert list(asked.states) == [instance_pb2.INSTANCE_STATE_FAILED]
    assert (asked.provider, asked.label_selector, asked.active_only) == ("vastai", "team=a", False)


def test_a_wide_table_fits_100_columns_and_keeps_ids_prices_and_notes(cli: Run, plane: FakePlane) -> None:
    plane.on("ListOffers", ListOffersResponse(offers=[canned.offer()]))
    result = cli("offers")
    assert max(map(len, result.out.splitlines())) <= 100
    for part in ("local-a100-sxm4-80gb-8x-apac-on-demand", "8x A100 SXM4 80GB", "$14.0656/h", "spot simulated"):
        assert part in result.out
    assert "…" not in result.out
    wide = cli("offers", "--wide").out
    assert "RELIABLE" in wide
    assert "1600G" in wide


def test_long_names_give_way_in_the_instance_table(cli: Run, plane: FakePlane) -> None:
    wide = canned.instance(name="n" * 63)
    wide.gpu_type = "A100 SXM4 80GB"
    plane.on("ListInstances", ListInstancesResponse(instances=[wide]))
    result = cli("instances", "list")
    assert max(map(len, result.out.splitlines())) <= 100
    assert len(result.out.splitlines()) == 2
    assert canned.ID in result.out
    assert "…" in result.out
    assert "simulated" in result.out


def test_offers_filters(cli: Run, plane: FakePlane) -> None:
    plane.on("ListOffers", ListOffersResponse())
    result = cli(
        *("offers", "--gpu", "H100", "--gpu", "H200", "--count", "8", "--region", "eu", "--tier", "spot"),
        *("--min-vram", "80", "--max-price", "20.50", "--provider", "vastai", "--sort", "vram_gb", "--desc"),
    )
    assert "no offer fits" in result.err
    asked = plane.requests("ListOffers")[0]
    wanted = asked.requirements
    assert (list(wanted.gpu_types), wanted.gpu_count, list(wanted.regions)) == (["H100", "H200"], 8, ["eu"])
    assert (wanted.tier, wanted.min_vram_gb, list(wanted.providers)) == (TIER_SPOT, 80, ["vastai"])
    assert wanted.max_price_per_hour == Money(currency_code="USD", units=20, nanos=500_000_000)
    assert asked.order_by == "vram_gb desc"


def test_gpus(cli: Run, plane: FakePlane) -> None:
    gpu = GpuType(name="RTX 4090", vendor="NVIDIA", architecture="Ada Lovelace", vram_gb=24, offer_count=3)
    gpu.lowest_price_per_hour.CopyFrom(canned.PRICE)
    plane.on("ListGpuTypes", ListGpuTypesResponse(gpu_types=[gpu]))
    assert "$0.45/h" in cli("gpus").out
    assert plane.requests("ListGpuTypes")[0].offered_only


def test_instances_get(cli: Run, plane: FakePlane) -> None:
    plane.on("GetInstance", canned.instance())
    out = cli("instances", "get", canned.ID).out
    assert "ssh -p 4022 root@127.0.0.1" in out
    assert "simulated hardware" in out
    assert json.loads(cli("instances", "get", canned.ID, "-o", "json").out)["connection"]["ssh_port"] == 4022


def test_connection_logs_diagnose(cli: Run, plane: FakePlane) -> None:
    plane.on("GetConnection", canned.CONNECTION)
    assert "AAAAhostkey" in cli("instances", "connection", canned.ID).out
    plane.on("GetInstanceLogs", InstanceLogs(text="one\ntwo\n"))
    assert cli("instances", "logs", canned.ID, "-n", "2").out == "one\ntwo\n"
    assert plane.requests("GetInstanceLogs")[0].tail == 2
    plane.on("GetDiagnostics", Diagnostics(instance_id=canned.ID, provider_status="running", ssh_sessions=0))
    out = cli("instances", "diagnose", canned.ID).out
    assert "ssh sessions   0" in out
    assert "GPU %" not in out


def test_extend_and_update(cli: Run, plane: FakePlane) -> None:
    extended = canned.instance()
    extended.expire_time.FromSeconds(1_763_900_000)
    plane.on("ExtendInstance", extended)
    assert "now ends at 2025-11-23 12:13:20 UTC" in cli("instances", "extend", canned.ID, "1h30m").out
    assert plane.requests("ExtendInstance")[0].duration.seconds == 5400
    assert plane.requests("ExtendInstance")[0].request_id
    plane.on("UpdateInstance", canned.instance())
    cli("instances", "update", canned.ID, "--name", "", "--label", "a=b", "--remove-label", "c")
    asked = plane.requests("UpdateInstance")[0]
    assert asked.HasField("name")
    assert (asked.name, dict(asked.labels), list(asked.remove_labels)) == ("", {"a": "b"}, ["c"])


def test_terminate_by_name_waits_until_gone(cli: Run, plane: FakePlane) -> None:
    ended = canned.instance(canned.OTHER_ID, state=instance_pb2.INSTANCE_STATE_TERMINATED)
    plane.on("ListInstances", ListInstancesResponse(instances=[ended, canned.instance()]))
    plane.on("TerminateInstance", canned.operation(operation_pb2.OPERATION_STATE_RUNNING))
    plane.on("WaitOperation", canned.operation())
    result = cli("instances", "terminate", "trainer", "trainer", "--force")
    assert result.out == f"{canned.ID} is gone\n"
    (asked,) = plane.requests("TerminateInstance")
    assert (asked.id, asked.force) == (canned.ID, True)


def test_terminate_without_waiting(cli: Run, plane: FakePlane) -> None:
    plane.on("TerminateInstance", canned.operation(operation_pb2.OPERATION_STATE_RUNNING))
    assert f"operation {canned.OP}" in cli("instances", "terminate", canned.ID, "--no-wait").out


def test_ids_by_prefix_and_what_is_ambiguous(cli: Run, plane: FakePlane) -> None:
    both = [canned.instance(), canned.instance(canned.OTHER_ID)]
    plane.on("ListInstances", ListInstancesResponse(instances=both))
    plane.on("GetInstance", canned.instance())
    assert cli("instances", "get", canned.ID[:-1]).code == 1
    result = cli("instances", "get", "trainer")
    assert result.code == 1
    assert "means 2 instances" in result.err
    assert canned.OTHER_ID in result.err
    assert "no instance has the name or id" in cli("instances", "get", "nobody").err
    plane.on("ListInstances", ListInstancesResponse(instances=both[:1]))
    assert cli("instances", "get", canned.ID[:-1]).code == 0


def test_operations(cli: Run, plane: FakePlane) -> None:
    failed = canned.operation(operation_pb2.OPERATION_STATE_FAILED, reason="NO_CAPACITY")
    plane.on("ListOperations", ListOperationsResponse(operations=[failed]))
    result = cli("operations", "list", "--in-state", "failed")
    assert max(map(len, result.out.splitlines())) <= 100
    assert all(part in result.out for part in (canned.OP, "create", "NO_CAPACITY", canned.ID))
    plane.on("GetOperation", failed)
    out = cli("operations", "get", canned.OP).out
    assert all(part in out for part in ("allocate", "2.5 s", "vastai-1", "stockout", "somebody was faster"))
    plane.on("CancelOperation", canned.operation(operation_pb2.OPERATION_STATE_CANCELLED))
    assert "cancelled" in cli("operations", "cancel", canned.OP).out


def test_ssh_keys(cli: Run, plane: FakePlane, tmp_path: Path) -> None:
    key = SshKey(id="sshkey_1", name="laptop", fingerprint="SHA256:x", public_key="ssh-ed25519 AAAA")
    (tmp_path / "k").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    (tmp_path / "k.pub").write_text("ssh-ed25519 AAAA me@here\n")
    plane.on("CreateSshKey", key)
    assert "SHA256:x" in cli("keys", "ssh", "create", "laptop", "k").out
    assert plane.requests("CreateSshKey")[0].public_key == "ssh-ed25519 AAAA me@here"
    (tmp_path / "k.pub").unlink()
    assert "is a private key" in cli("keys", "ssh", "create", "laptop", "k").err
    plane.on("ListSshKeys", ListSshKeysResponse(ssh_keys=[key]))
    assert "laptop" in cli("keys", "ssh", "list").out
    plane.on("GetSshKey", key)
    assert "ssh-ed25519 AAAA" in cli("keys", "ssh", "get", "sshkey_1").out
    plane.on("DeleteSshKey", Empty())
    assert cli("keys", "ssh", "delete", "sshkey_1").code == 0


def test_api_keys(cli: Run, plane: FakePlane) -> None:
    key = ApiKey(id="key_1", name="ci", prefix="gp_ab", scopes=["instances:read"])
    plane.on("CreateApiKey", CreateApiKeyResponse(api_key=key, secret="gp_secret"))
    result = cli("keys", "api", "create", "ci", "--scope", "instances:read", "--expires", "30d")
    assert result.out == "gp_secret\n"  # and nothing else: `KEY=$(gpuplane keys api create ci)`
    assert "shown only now" in result.err
    assert plane.requests("CreateApiKey")[0].HasField("expire_time")
    revoked = ApiKey(id="key_2", name="old")
    revoked.revoke_time.GetCurrentTime()
    plane.on("ListApiKeys", ListApiKeysResponse(api_keys=[key, revoked]))
    out = cli("keys", "api", "list").out
    assert "works" in out
    assert "revoked" in out
    plane.on("RevokeApiKey", revoked)
    assert cli("keys", "api", "revoke", "key_2").out == "key_2 (old) is revoked\n"


def test_the_help_of_api_keys_names_every_format(cli: Run) -> None:
    text = " ".join(cli("keys", "api", "create", "--help").out.split())
    for form in key_formats():
        assert re.search(rf"\b{form.name}\b", text), form.name
        assert form.default_scopes is None or form.name.startswith("hoon_")
    assert "hoon_*: inference:read and inference:write" in text


def test_usage_alone_means_buckets(cli: Run, plane: FakePlane) -> None:
    bucket = usage_service_pb2.UsageBucket(start_time=canned.BEGAN, group="local", gpu_seconds=5400, cost=canned.PRICE)
    plane.on("QueryUsage", usage_service_pb2.QueryUsageResponse(buckets=[bucket]))
    for arguments in (["usage"], ["usage", "--by", "hour", "--group", "provider"], ["usage", "buckets"]):
        out = cli(*arguments).out
        assert "1.50" in out
        assert "$0.45" in out
    assert plane.requests("QueryUsage")[1].bucket == usage_service_pb2.USAGE_BUCKET_SIZE_HOUR
    assert plane.requests("QueryUsage")[1].group_by == usage_service_pb2.USAGE_GROUP_PROVIDER
    assert "summary" in cli("usage", "--help").out


def test_usage_summary_and_ledger(cli: Run, plane: FakePlane) -> None:
    share = usage_service_pb2.CostShare(key="vastai", cost=canned.PRICE)
    plane.on(
        "GetCostSummary",
        usage_service_pb2.CostSummary(total=canned.PRICE, instance_count=1, hours=1, by_provider=[share]),
    )
    assert "provider vastai  $0.45" in cli("usage", "summary", "--since", "2026-11-01").out
    entry = usage_service_pb2.LedgerEntry(
        id="led_1", instance_id=canned.ID, start_time=canned.BEGAN, end_time=canned.ENDED, amount=canned.PRICE
    )
    plane.on("ListLedgerEntries", usage_service_pb2.ListLedgerEntriesResponse(entries=[entry]))
    assert canned.ID in cli("usage", "ledger", "--instance", canned.ID).out


def test_budgets(cli: Run, plane: FakePlane) -> None:
    plane.on("CreateBudget", BUDGET)
    assert "$10.00 per month" in cli("budgets", "create", "team", "10", "--per", "month").out
    assert plane.requests("CreateBudget")[0].period == budget_pb.BUDGET_PERIOD_MONTH
    plane.on("ListBudgets", budget_pb.ListBudgetsResponse(budgets=[BUDGET]))
    assert "month" in cli("budgets", "list").out
    plane.on("GetBudget", BUDGET)
    assert "team" in cli("budgets", "get", "budget_1").out
    plane.on("UpdateBudget", BUDGET)
    assert cli("budgets", "update", "budget_1").code == 2
    assert cli("budgets", "update", "budget_1", "--limit", "20").code == 0
    assert not plane.requests("UpdateBudget")[0].HasField("name")
    plane.on("DeleteBudget", Empty())
    assert cli("budgets", "delete", "budget_1").code == 0


def test_accounts_use_the_operator_key(
    cli: Run, plane: FakePlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GPUPLANE_KEY")
    (tmp_path / "st").mkdir()
    (tmp_path / "st" / "operator.key").write_text("op_secret\n")
    plane.on("ListAccounts", ListAccountsResponse(accounts=[Account(id="acct_1", name="a", currency="USD")]))
    assert "acct_1" in cli("accounts", "list", "--state", "st").out
    assert plane.calls[0].metadata["authorization"] == "Bearer op_secret"
    plane.on("CreateAccount", Account(id="acct_2", name="b"))
    assert "acct_2" in cli("accounts", "create", "b", "--currency", "EUR").out
    plane.on("GetAccount", Account(id="acct_2", name="b"))
    assert cli("accounts", "get", "acct_2").code == 0
    plane.on("CloseAccount", Account(id="acct_2", name="b"))
    assert cli("accounts", "close", "acct_2", "--yes").code == 0


def test_status(cli: Run, plane: FakePlane) -> None:
    check = system_service_pb2.HealthCheck(healthy=True, response_time_ms=0.5)
    plane.on("GetServerInfo", system_service_pb2.ServerInfo(version="0.1.0", deployment_id="d", providers=["local"]))
    plane.on("GetHealth", system_service_pb2.Health(status="ok", checks={"store": check}))
    plane.on("GetReadiness", system_service_pb2.Readiness(ready=True))
    result = cli("status")
    assert result.code == 0
    assert "gpuplane 0.1.0" in result.out
    assert "store" in result.out
    assert json.loads(cli("status", "-o", "json").out)["readiness"]["ready"] is True


def test_status_of_an_ill_server(cli: Run, plane: FakePlane) -> None:
    plane.on("GetServerInfo", system_service_pb2.ServerInfo())
    ill = system_service_pb2.HealthCheck(message="disk full")
    plane.on("GetHealth", system_service_pb2.Health(status="unavailable", checks={"store": ill}))
    plane.on("GetReadiness", system_service_pb2.Readiness())
    result = cli("status")
    assert result.code == 1
    assert "store: disk full" in result.err


def test_status_waits(cli: Run, plane: FakePlane) -> None:
    starting = Refusal(grpc.StatusCode.UNAVAILABLE, message="no healthy upstream")
    plane.on("GetServerInfo", starting, system_service_pb2.ServerInfo(version="1"))
    plane.on("GetHealth", system_service_pb2.Health(status="ok"))
    plane.on("GetReadiness", system_service_pb2.Readiness(), system_service_pb2.Readiness(ready=True))
    assert cli("status", "--wait", "--timeout", "10s").code == 0
    plane.on("GetServerInfo", starting)
    result = cli("status", "--wait", "--timeout", "0s")
    assert result.code == 5
    assert "not ready after 0 s" in result.err


def test_metrics(cli: Run, plane: FakePlane) -> None:
    plane.on("GetMetrics", HttpBody(content_type="text/plain", data=b"up 1\n"))
    assert cli("metrics").out == "up 1\n"


def test_a_budget_is_found_by_its_name(cli: Run, plane: FakePlane) -> None:
    mine = budget_pb.Budget(id="budget_1", name="mine")
    plane.on("ListBudgets", budget_pb.ListBudgetsResponse(budgets=[mine]))
    plane.on("DeleteBudget", Empty())
    assert "removed" in cli("budgets", "delete", "mine").err
    result = cli("budgets", "delete", "other")
    assert result.code == 1
    assert "no budget has the name or id 'other'" in result.err
