"""The kernel's tables and synthetic datasets."""

import sqlalchemy as sa
from alembic import op

from simulacra.store import UtcDateTime, kernel

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates the tables."""
    kernel.create_v1()
    kernel.create_resource_table_v1(
        "synthetic_datasets",
        sa.Column("generation_status", sa.Text, nullable=False),
        sa.Column("generator_id", sa.Text, nullable=False),
        sa.Column("state", sa.JSON, nullable=False),
    )
    op.create_table(
        "releases",
        sa.Column("resource_id", sa.Text, primary_key=True),
        sa.Column("user_uri", sa.Text, primary_key=True),
        sa.Column("due_at", UtcDateTime, nullable=False),
    )
