"""Deliveries: what is known of each, so that it happens once.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

from simulacra.store import UtcDateTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Creates the table."""
    op.create_table(
        "deliveries",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("note", sa.JSON, nullable=False),
        sa.Column("changed_at", UtcDateTime, nullable=False),
    )
