"""The kernel's tables: the service's jobs."""

from simulacra.store import kernel

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates the tables."""
    kernel.create_v1()
