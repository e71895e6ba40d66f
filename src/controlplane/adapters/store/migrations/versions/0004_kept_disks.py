"""Machines that are stopped and kept, and what their disks are charged. Builds of 0003 go on beside it: they insert
rows without the new columns. They know of no kept disks and of no quantization, end disks with the lease, and forget
both wishes at their first write of a row: wish for them once no build of 0003 is left."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("instances", sa.Column("kept", sa.Text()))
    op.add_column("ledger", sa.Column("storage", sa.Boolean(), nullable=False, server_default=sa.false()))
