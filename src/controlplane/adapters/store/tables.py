"""The schema, one for SQLite and PostgreSQL. A table's columns are the fields of its record, by name and in
order.

Structured fields are JSON text (codec.py). `message` is a cache of the canonical message, see batch.MESSAGE_VERSION.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from controlplane.domain.account import Account, ApiKey, IdempotencyRecord, SshKey
from controlplane.domain.budget import Budget
from controlplane.domain.credential import ProviderCredential
from controlplane.domain.failures import FailureRecord
from controlplane.domain.instance import Instance
from controlplane.domain.ledger import LedgerEntry
from controlplane.domain.operation import Operation
from controlplane.domain.principal import CANONICAL_DIALECT
from controlplane.domain.replica import ReplicaRecord
from controlplane.domain.stray import StrayMachine
from controlplane.domain.webhook import Delivery, Lane, WebhookCursor, WebhookEndpoint
from controlplane.domain.work import WorkItem

metadata = sa.MetaData()


def _id() -> sa.Column[str]:
    return sa.Column("id", sa.Text, primary_key=True)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _later(name: str, default: str) -> sa.Column[str]:
    """A column that a migration added: builds that do not know it insert rows without it."""
    return sa.Column(name, sa.Text, nullable=False, server_default=default)


def _int(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=null)


def _flag(name: str, *, later: bool = False) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false() if later else None)


def _lease() -> tuple[sa.Column[Any], ...]:
    return (_int("due_at"), _text("holder"), _int("fence"), _int("lease_until"), _int("failures"))


def _message() -> tuple[sa.Column[Any], ...]:
    return (sa.Column("message", sa.LargeBinary, nullable=False), _int("message_version"))


accounts = sa.Table(
    "accounts", metadata, _id(), _text("name"), _text("currency"), _int("max_instances"), _int("created_at"),
    _int("closed_at", null=True),
)  # fmt: skip

api_keys = sa.Table(
    "api_keys", metadata, _id(), _text("account_id"), _text("name"), _text("prefix"), _text("secret_sha256"),
    _text("scopes"), _int("created_at"), _int("expires_at", null=True), _int("revoked_at", null=True),
    _later("dialect", CANONICAL_DIALECT),
    sa.Index("api_keys_secret", "secret_sha256", unique=True),
    sa.Index("api_keys_account", "account_id", "id"),
)  # fmt: skip

ssh_keys = sa.Table(
    "ssh_keys", metadata, _id(), _text("account_id"), _text("name"), _text("public_key"), _text("fingerprint"),
    _int("created_at"),
    sa.Index("ssh_keys_account", "account_id", "id"),
)  # fmt: skip

idempotency = sa.Table(
    "idempotency", metadata, _id(), _text("account_id"), _text("fingerprint"), _text("result_id"), _int("created_at"),
    _text("sealed"), _later("answer", ""),
    sa.Index("idempotency_age", "created_at"),
)  # fmt: skip

instances = sa.Table(
    "instances", metadata, _id(), _text("account_id"), _text("create_operation_id"), _text("wish"), _text("billing"),
    _text("currency"), _int("created_at"), _int("updated_at"), _text("name"), _text("labels"), _text("ssh_key_ids"),
    _text("state"), _text("state_reason"), _text("state_message"), _int("revision"),
    _text("offer_id"), _text("provider"), _text("gpu_type"), _int("gpu_count"), _int("vram_gb"), _int("cpu_count"),
    _int("memory_gb"), _int("disk_gb"), _text("region"), _text("location"), _text("tier"),
    _int("price_nano_per_hour"), _flag("simulated"), _text("host_id"), _later("credential_id", ""),
    _int("attempt"), _text("label"), _text("machine_id"), _int("machine_at", null=True),
    _int("start_deadline_at", null=True), _int("run_at", null=True), _int("end_at", null=True),
    _int("gone_at", null=True), _int("destroy_at", null=True), _int("refused_at", null=True),
    _int("provider_expire_at", null=True), _text("ssh_host"), _int("ssh_port"), _text("ssh_user"),
    _text("ssh_host_key"), _text("model_url"), _int("expire_at", null=True), _int("hard_expire_at", null=True),
    _int("idle_timeout_s"),
    _int("idle_since", null=True), _text("stop_reason"), _text("stop_message"), _int("stop_at", null=True),
    _flag("stop_force"), _text("terminate_operation_id"), sa.Column("kept", sa.Text),
    _int("charged_nano"), _int("charged_until", null=True),
    _int("cost_nano"), _int("cost_until", null=True), sa.Column("meter", sa.Text), _int("hold_nano"),
    _int("seen_at", null=True), _int("missing_since", null=True), *_message(),
    sa.Index("instances_account", "account_id", "id"),
    sa.Index(
        "instances_live", "account_id", "id",
        sqlite_where=sa.text("end_at IS NULL"), postgresql_where=sa.text("end_at IS NULL"),
    ),
)  # fmt: skip

operations = sa.Table(
    "operations", metadata, _id(), _text("account_id"), _text("instance_id"), _text("kind"), _text("state"),
    _int("created_at"), _int("updated_at"), _text("request_id"), _int("done_at", null=True),
    sa.Column("failure", sa.Text), _text("steps"), _text("attempts"), _later("skipped", "[]"),
    _flag("cancel_requested"), _int("revision"), *_message(),
    sa.Index("operations_account", "account_id", "id"),
    sa.Index("operations_instance", "instance_id"),
    sa.Index("operations_done", "done_at"),
)  # fmt: skip

budgets = sa.Table(
    "budgets", metadata, _id(), _text("account_id"), _text("name"), _int("limit_nano"), _text("currency"),
    _text("period"), _int("period_start_at"), _int("created_at"), _int("spent_nano"), _int("held_nano"),
    _int("crossed_percent"),
    sa.Index("budgets_account", "account_id", "id"),
)  # fmt: skip

ledger = sa.Table(
    "ledger", metadata, _id(), _text("kind"), _text("account_id"), _text("instance_id"), _int("attempt"),
    _int("start_at"), _int("end_at"), _int("amount_nano"), _text("currency"), _text("provider"), _text("gpu_type"),
    _int("gpu_count"), _int("posted_at"), _text("description"), _flag("storage", later=True),
    sa.Index("ledger_account", "account_id", "kind", "start_at"),
    sa.Index("ledger_instance", "instance_id", "kind", "start_at"),
)  # fmt: skip

work = sa.Table(
    "work", metadata, _id(), _int("due_at"), _text("provider"), _text("host_id"), _text("holder"), _int("fence"),
    _int("lease_until"), _int("failures"),
    sa.Index("work_due", "due_at"),
)  # fmt: skip

events = sa.Table(
    "events", metadata, sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False), _text("id"),
    _text("kind"), _text("account_id"), _text("subject_id"), _int("at"),
    sa.Column("body", sa.LargeBinary, nullable=False), _int("revision"), _flag("final"),
)  # fmt: skip

replicas = sa.Table("replicas", metadata, _id(), _text("host_id"), _int("seen_at"))

webhook_endpoints = sa.Table(
    "webhook_endpoints", metadata, _id(), _text("account_id"), _text("dialect"), _text("url"), _text("event_types"),
    _text("secret"), _flag("enabled"), _int("created_at"), _int("pending"), *_lease(),
    sa.Index("webhook_endpoints_account", "account_id", "id"),
    sa.Index("webhook_endpoints_due", "enabled", "due_at"),
)  # fmt: skip

webhook_lanes = sa.Table(
    "webhook_lanes", metadata, _id(), _text("endpoint_id"), _int("due_at"), _int("pending"),
    sa.Index("webhook_lanes_due", "endpoint_id", "due_at"),
)  # fmt: skip

_PENDING = sa.text("done_at IS NULL")

webhook_deliveries = sa.Table(
    "webhook_deliveries", metadata, _id(), _text("account_id"), _text("endpoint_id"), _text("subject_id"),
    _text("lane"), _int("seq"), _text("event_id"), _text("event_type"), _text("body"), _int("created_at"),
    _text("state"), _int("tries"), _text("attempts"), _int("done_at", null=True), _text("error"),
    sa.Index("webhook_deliveries_endpoint", "endpoint_id", "id"),
    sa.Index("webhook_deliveries_lane", "lane", "seq", sqlite_where=_PENDING, postgresql_where=_PENDING),
    sa.Index("webhook_deliveries_oldest", "endpoint_id", "seq", sqlite_where=_PENDING, postgresql_where=_PENDING),
    sa.Index("webhook_deliveries_done", "done_at"),
)  # fmt: skip

webhook_cursor = sa.Table("webhook_cursor", metadata, _id(), _int("seq"), *_lease())

failures = sa.Table(
    "failures", metadata, _id(), _text("provider"), _int("score_milli"), _int("at"), _int("rest_until"), _text("cause"),
)  # fmt: skip

strays = sa.Table(
    "strays", metadata, _id(), _text("provider"), _text("credential_id"), _text("machine_id"), _text("label"),
    _text("kind"), _text("status"), _int("price_nano_per_hour"), _int("first_seen_at"), _int("last_seen_at"),
    _text("wish"), _text("account_id"), _text("error"),
)  # fmt: skip

provider_credentials = sa.Table(
    "provider_credentials", metadata, _id(), _text("account_id"), _text("provider"), _text("name"), _text("sealed"),
    _text("fingerprint"), _int("created_at"), _int("revoked_at", null=True),
    sa.Index("provider_credentials_account", "account_id", "id"),
)  # fmt: skip

commits = sa.Table("commits", metadata, _id(), _int("at"), sa.Index("commits_age", "at"))
"""Ids of committed batches (PostgreSQL): how a COMMIT whose answer was lost is looked up."""

meta = sa.Table("meta", metadata, sa.Column("key", sa.Text, primary_key=True), _text("value"))

BY_RECORD: dict[type[Any], sa.Table] = {
    Account: accounts,
    ApiKey: api_keys,
    SshKey: ssh_keys,
    IdempotencyRecord: idempotency,
    Instance: instances,
    Operation: operations,
    Budget: budgets,
    LedgerEntry: ledger,
    WorkItem: work,
    ReplicaRecord: replicas,
    WebhookEndpoint: webhook_endpoints,
    Lane: webhook_lanes,
    Delivery: webhook_deliveries,
    WebhookCursor: webhook_cursor,
    FailureRecord: failures,
    StrayMachine: strays,
    ProviderCredential: provider_credentials,
}
