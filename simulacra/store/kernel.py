"""What migrations call: the kernel's tables, as they were when each version of them was frozen.

A service's first migration calls `create_v1()`; a later change of the kernel is a new function that a new
migration of each service calls. Never edit a function that a release has shipped: `tables.py` holds the
present state, and a test compares the two.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from simulacra.store.types import UtcDateTime

__all__ = ["create_resource_table_v1", "create_v1"]


def create_v1() -> None:
    """Creates the revision counter, requests, references, grants, likes, jobs, steps and job logs."""
    op.create_table(
        "revision_counter",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.execute("INSERT INTO revision_counter (id, value) VALUES (1, 0)")
    op.create_table(
        "requests",
        _key("principal_id"),
        _key("method"),
        _key("request_id"),
        _text("body_hash"),
        _text("response"),
        _time("created_at"),
    )
    op.create_index("ix_requests_created_at", "requests", ["created_at"])
    op.create_table("used_by", _key("resource_id"), _key("user_uri"), _text("user_name"))
    op.create_table(
        "grants",
        _key("resource_id"),
        _key("user_id"),
        _text("user_name"),
        _text("level"),
        _time("created_at"),
    )
    op.create_index("ix_grants_user_id", "grants", ["user_id", "resource_id"])
    op.create_table("likes", _key("resource_id"), _key("user_id"), _time("created_at"))
    _create_jobs_v1()
    _create_steps_v1()
    _create_job_logs_v1()


def create_resource_table_v1(name: str, *columns: sa.Column[Any]) -> None:
    """Creates a resource's table: the columns that every resource has, and the given ones."""
    op.create_table(
        name,
        _key("id"),
        _text("owner_id"),
        _text("owner_name"),
        _text("name"),
        _time("created_at"),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
        *columns,
    )
    op.create_index(f"ix_{name}_created", name, ["created_at", "id"])
    op.create_index(f"ix_{name}_owner", name, ["owner_id", "created_at", "id"])
    op.create_index(f"ix_{name}_revision", name, ["revision"])


def _create_jobs_v1() -> None:
    op.create_table(
        "jobs",
        _key("id"),
        _text("kind"),
        _text("resource_uri"),
        _text("resource_id"),
        _text("resource_name"),
        _text("owner_id"),
        sa.Column("owner", sa.JSON, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("parallel_limit", sa.Integer),
        _text("status"),
        sa.Column("ended", sa.Boolean, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("stopping", sa.Boolean, nullable=False),
        _time("created_at"),
        _time("start_date", nullable=True),
        _time("end_date", nullable=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_jobs_revision", "jobs", ["revision"])
    op.create_index("ix_jobs_created", "jobs", ["created_at", "id"])
    op.create_index("ix_jobs_owner", "jobs", ["owner_id", "created_at", "id"])
    op.create_index("ix_jobs_resource", "jobs", ["resource_id", "created_at"])
    op.create_index("ix_jobs_unended", "jobs", ["ended", "status", "created_at"])


def _create_steps_v1() -> None:
    op.create_table(
        "steps",
        _key("id"),
        sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
        _text("key"),
        sa.Column("position", sa.Integer, nullable=False),
        _text("code"),
        _text("model_label", nullable=True),
        _text("compute_name", nullable=True),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("after", sa.JSON, nullable=False),
        sa.Column("resources", sa.JSON, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        _text("status"),
        sa.Column("ready", sa.Boolean, nullable=False),
        _time("not_before"),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        _text("lease_owner", nullable=True),
        _time("lease_until", nullable=True),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.Column("max", sa.BigInteger, nullable=False),
        sa.Column("messages", sa.JSON, nullable=False),
        _text("error_message", nullable=True),
        _text("error_reason", nullable=True),
        sa.Column("output", sa.JSON),
        _time("created_at"),
        _time("start_date", nullable=True),
        _time("end_date", nullable=True),
        sa.UniqueConstraint("job_id", "key", name="uq_steps_key"),
    )
    op.create_index("ix_steps_claim", "steps", ["status", "ready", "priority", "created_at", "position"])


def _create_job_logs_v1() -> None:
    serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "job_logs",
        sa.Column("id", serial, primary_key=True, autoincrement=True),
        sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
        _text("step_id"),
        sa.Column("attempt", sa.Integer, nullable=False),
        _time("time"),
        _text("level"),
        _text("text"),
    )
    op.create_index("ix_job_logs_job", "job_logs", ["job_id", "id"])
    op.create_index("ix_job_logs_time", "job_logs", ["time"])


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=True)


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=nullable)


def _time(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, UtcDateTime, nullable=nullable)
