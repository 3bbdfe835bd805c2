"""Connectors and uploads.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

from simulacra.store import UtcDateTime
from simulacra.store.kernel import create_resource_table_v1, create_v1

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates the kernel's tables and this service's."""
    create_v1()
    create_resource_table_v1(
        "connectors",
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("access_type", sa.Text, nullable=False),
        sa.Column("table_id", sa.Text, nullable=True, unique=True),
    )
    op.create_table(
        "uploads",
        sa.Column("owner_id", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("file_name", sa.Text, nullable=False),
        sa.Column("connector_name", sa.Text, nullable=False),
        sa.Column("connector_id", sa.Text, nullable=False),
        sa.Column("total_size", sa.BigInteger, nullable=True),
        sa.Column("finished", sa.Boolean, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
    )
