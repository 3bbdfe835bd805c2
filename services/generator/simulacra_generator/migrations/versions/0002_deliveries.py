"""Connectors that datasets are delivered through, to be told when they are not."""

import sqlalchemy as sa
from alembic import op

from simulacra.store import UtcDateTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Creates the table."""
    op.create_table(
        "connector_releases",
        sa.Column("resource_id", sa.Text, primary_key=True),
        sa.Column("user_uri", sa.Text, primary_key=True),
        sa.Column("due_at", UtcDateTime, nullable=False),
    )
