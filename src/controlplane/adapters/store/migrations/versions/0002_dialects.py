"""Keys of dialects, first answers, webhooks. Builds of 0001 go on beside it: they insert rows without the new columns
and leave the new tables alone."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("dialect", sa.Text(), nullable=False, server_default="gpuplane"))
    op.add_column("idempotency", sa.Column("answer", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "webhook_endpoints", _id(), *_texts("account_id", "dialect", "url", "event_types", "secret"),
        sa.Column("enabled", sa.Boolean(), nullable=False), *_ints("created_at", "pending"), *_lease(),
    )  # fmt: skip
    op.create_index("webhook_endpoints_account", "webhook_endpoints", ["account_id", "id"])
    op.create_index("webhook_endpoints_due", "webhook_endpoints", ["enabled", "due_at"])
    op.create_table("webhook_lanes", _id(), *_texts("endpoint_id"), *_ints("due_at", "pending"))
    op.create_index("webhook_lanes_due", "webhook_lanes", ["endpoint_id", "due_at"])
    op.create_table(
        "webhook_deliveries", _id(),
        *_texts("account_id", "endpoint_id", "subject_id", "lane", "event_id", "event_type", "body", "state"),
        *_texts("attempts", "error"), *_ints("seq", "created_at", "tries"), sa.Column("done_at", sa.BigInteger()),
    )  # fmt: skip
    op.create_index("webhook_deliveries_endpoint", "webhook_deliveries", ["endpoint_id", "id"])
    pending = sa.text("done_at IS NULL")
    for name, columns in (("lane", ["lane", "seq"]), ("oldest", ["endpoint_id", "seq"])):
        op.create_index(
            f"webhook_deliveries_{name}", "webhook_deliveries", columns,
            sqlite_where=pending, postgresql_where=pending,
        )  # fmt: skip
    op.create_index("webhook_deliveries_done", "webhook_deliveries", ["done_at"])
    op.create_table("webhook_cursor", _id(), *_ints("seq"), *_lease())


def _id() -> sa.Column[Any]:
    return sa.Column("id", sa.Text(), primary_key=True)


def _texts(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _ints(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False) for name in names]


def _lease() -> list[sa.Column[Any]]:
    return [*_ints("due_at", "fence", "lease_until", "failures"), *_texts("holder")]
