"""The kernel's tables, users, their API keys, and computes."""

import sqlalchemy as sa
from alembic import op

from simulacra.store import UtcDateTime, kernel

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates the tables."""
    kernel.create_v1()
    op.create_table(
        "users",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("email", sa.Text, nullable=False, unique=True),
        sa.Column("first_name", sa.Text),
        sa.Column("last_name", sa.Text),
        sa.Column("is_admin", sa.Boolean, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("parallel_training_jobs", sa.Integer),
        sa.Column("parallel_generation_jobs", sa.Integer),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("owner_id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False, unique=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("last_used_at", UtcDateTime),
        sa.Column("expires_at", UtcDateTime),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_api_keys_owner", "api_keys", ["owner_id", "created_at", "id"])
    kernel.create_resource_table_v1("computes", sa.Column("order_index", sa.Integer, nullable=False))
