"""Marketplaces: meters, unanswered destroys, credentials of accounts, the memory of failures, strays. Builds of 0002 go
on beside it: they insert rows without the new columns and leave the new tables alone."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("instances", sa.Column("credential_id", sa.Text(), nullable=False, server_default=""))
    for name in ("destroy_at", "refused_at", "provider_expire_at"):
        op.add_column("instances", sa.Column(name, sa.BigInteger()))
    op.add_column("instances", sa.Column("meter", sa.Text()))
    op.add_column("operations", sa.Column("skipped", sa.Text(), nullable=False, server_default="[]"))
    op.create_table("failures", _id(), *_texts("provider", "cause"), *_ints("score_milli", "at", "rest_until"))
    op.create_table(
        "strays", _id(), *_texts("provider", "credential_id", "machine_id", "label", "kind", "status", "wish"),
        *_texts("account_id", "error"), *_ints("price_nano_per_hour", "first_seen_at", "last_seen_at"),
    )  # fmt: skip
    op.create_table(
        "provider_credentials", _id(), *_texts("account_id", "provider", "name", "sealed", "fingerprint"),
        *_ints("created_at"), sa.Column("revoked_at", sa.BigInteger()),
    )  # fmt: skip
    op.create_index("provider_credentials_account", "provider_credentials", ["account_id", "id"])


def _id() -> sa.Column[Any]:
    return sa.Column("id", sa.Text(), primary_key=True)


def _texts(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _ints(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False) for name in names]
