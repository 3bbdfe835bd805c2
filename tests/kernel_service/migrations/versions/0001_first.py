"""The kernel's tables and one resource."""

import sqlalchemy as sa

from simulacra.store import kernel

revision = "0001"
down_revision = None


def upgrade() -> None:
    kernel.create_v1()
    kernel.create_resource_table_v1("things", sa.Column("status", sa.Text, nullable=False))
