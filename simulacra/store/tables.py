"""The tables that every service's database has, as they are now; `kernel` makes them in migrations."""

import sqlalchemy as sa

from simulacra.store.types import UtcDateTime

__all__ = [
    "grants",
    "job_logs",
    "jobs",
    "likes",
    "metadata",
    "requests",
    "revision_counter",
    "steps",
    "used_by",
]

metadata = sa.MetaData()

revision_counter = sa.Table(
    "revision_counter",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("value", sa.BigInteger, nullable=False),
)
"""One row: the newest revision given to any row of this database."""

requests = sa.Table(
    "requests",
    metadata,
    sa.Column("principal_id", sa.Text, primary_key=True),
    sa.Column("method", sa.Text, primary_key=True),
    sa.Column("request_id", sa.Text, primary_key=True),
    sa.Column("body_hash", sa.Text, nullable=False),
    sa.Column("response", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False, index=True),
)
"""What requests with an id answered, so that a repeat makes nothing twice."""

used_by = sa.Table(
    "used_by",
    metadata,
    sa.Column("resource_id", sa.Text, primary_key=True),
    sa.Column("user_uri", sa.Text, primary_key=True),
    sa.Column("user_name", sa.Text, nullable=False),
)
"""Resources, mostly of other services, that depend on one of this service's."""

grants = sa.Table(
    "grants",
    metadata,
    sa.Column("resource_id", sa.Text, primary_key=True),
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("user_name", sa.Text, nullable=False),
    sa.Column("level", sa.Text, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index("ix_grants_user_id", "user_id", "resource_id"),
)
"""Shares: who besides the owner may see or administer a resource."""

likes = sa.Table(
    "likes",
    metadata,
    sa.Column("resource_id", sa.Text, primary_key=True),
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("created_at", UtcDateTime, nullable=False),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("resource_uri", sa.Text, nullable=False),
    sa.Column("resource_id", sa.Text, nullable=False),
    sa.Column("resource_name", sa.Text, nullable=False),
    sa.Column("owner_id", sa.Text, nullable=False),
    sa.Column("owner", sa.JSON, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("parallel_limit", sa.Integer),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("ended", sa.Boolean, nullable=False),
    sa.Column("cancel_requested", sa.Boolean, nullable=False),
    sa.Column("stopping", sa.Boolean, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("start_date", UtcDateTime),
    sa.Column("end_date", UtcDateTime),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Index("ix_jobs_revision", "revision"),
    sa.Index("ix_jobs_created", "created_at", "id"),
    sa.Index("ix_jobs_owner", "owner_id", "created_at", "id"),
    sa.Index("ix_jobs_resource", "resource_id", "created_at"),
    sa.Index("ix_jobs_unended", "ended", "status", "created_at"),
)
"""`parallel_limit`: how many of its kind the owner may run; `stopping`: its steps are to be stopped."""

steps = sa.Table(
    "steps",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("model_label", sa.Text),
    sa.Column("compute_name", sa.Text),
    sa.Column("payload", sa.JSON, nullable=False),
    sa.Column("after", sa.JSON, nullable=False),
    sa.Column("resources", sa.JSON, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("ready", sa.Boolean, nullable=False),
    sa.Column("not_before", UtcDateTime, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("lease_owner", sa.Text),
    sa.Column("lease_until", UtcDateTime),
    sa.Column("value", sa.BigInteger, nullable=False),
    sa.Column("max", sa.BigInteger, nullable=False),
    sa.Column("messages", sa.JSON, nullable=False),
    sa.Column("error_message", sa.Text),
    sa.Column("error_reason", sa.Text),
    sa.Column("output", sa.JSON),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("start_date", UtcDateTime),
    sa.Column("end_date", UtcDateTime),
    sa.UniqueConstraint("job_id", "key", name="uq_steps_key"),
    sa.Index("ix_steps_claim", "status", "ready", "priority", "created_at", "position"),
)
"""The unit of work: `attempt` counts claims and fences writes, `failures` counts towards giving up."""

job_logs = sa.Table(
    "job_logs",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    sa.Column("step_id", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("time", UtcDateTime, nullable=False),
    sa.Column("level", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Index("ix_job_logs_job", "job_id", "id"),
    sa.Index("ix_job_logs_time", "time"),
)
