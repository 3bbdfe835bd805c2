"""A job with its steps as one value: what follows from a change of a step, and reading and writing it.

All rules of the state machine are in `JobState.settle`; the store loads a state, changes steps, settles,
saves.
"""

from collections.abc import Iterable, Sequence
from copy import copy
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from simulacra.domain import Job, JobKind, JobProgress, ProgressStatus, ProgressStep, ProgressValue, StepCode
from simulacra.store import Transaction
from simulacra.store.tables import jobs, steps

__all__ = ["ENDED", "JobState", "load_state", "read_jobs"]

ENDED = frozenset({ProgressStatus.DONE, ProgressStatus.FAILED, ProgressStatus.CANCELED})
PENDING = frozenset({ProgressStatus.QUEUED, ProgressStatus.ON_HOLD})
_STEP_SHARE = 100
"""Each step counts this much in the progress of its job."""


class JobState:
    """One job's row and its steps' rows, changed in place; `save` writes what has changed."""

    def __init__(self, job: dict[str, Any], steps: list[dict[str, Any]]) -> None:
        self.job = job
        self.steps = steps
        self._job_before = copy(job)
        self._steps_before = [copy(step) for step in steps]

    def step(self, step_id: str) -> dict[str, Any]:
        """Returns the row of one step."""
        return next(step for step in self.steps if step["id"] == step_id)

    @property
    def status_changed(self) -> bool:
        """Whether the job's status is another than when it was loaded."""
        return bool(self.job["status"] != self._job_before["status"])

    @property
    def just_ended(self) -> bool:
        """Whether the job has ended since it was loaded."""
        return bool(self.job["ended"] and not self._job_before["ended"])

    def outputs(self) -> dict[str, dict[str, Any]]:
        """Returns the outputs of the steps that are DONE, by key."""
        done = (step for step in self.steps if step["status"] == ProgressStatus.DONE)
        return {step["key"]: step["output"] or {} for step in done}

    def settle(self, now: datetime) -> None:
        """Draws all consequences of what has happened to the steps."""
        if any(step["status"] == ProgressStatus.FAILED for step in self.steps):
            self.job["stopping"] = True
        done = {step["key"] for step in self.steps if step["status"] == ProgressStatus.DONE}
        for step in self.steps:
            if step["status"] in PENDING:
                step["ready"] = done.issuperset(step["after"])
                if self.job["stopping"]:
                    step.update(status=ProgressStatus.CANCELED.value, ready=False, end_date=now)
        status = self._derived_status()
        self.job["status"] = status.value
        self.job["ended"] = status in ENDED
        self.job["end_date"] = (self.job["end_date"] or now) if status in ENDED else None

    def _derived_status(self) -> ProgressStatus:
        found = {step["status"] for step in self.steps}
        if ProgressStatus.IN_PROGRESS in found:
            return ProgressStatus.IN_PROGRESS
        if found == {ProgressStatus.DONE}:
            return ProgressStatus.DONE
        if found & PENDING:
            if ProgressStatus.ON_HOLD in found:
                return ProgressStatus.ON_HOLD
            return ProgressStatus.IN_PROGRESS if self.job["start_date"] else ProgressStatus.QUEUED
        return ProgressStatus.FAILED if ProgressStatus.FAILED in found else ProgressStatus.CANCELED

    async def save(self, tx: Transaction) -> None:
        """Writes the changed columns and gives the job its next revision."""
        self.job["revision"] = await tx.next_revision()
        for table, before, after in self._rows():
            changed = {name: value for name, value in after.items() if value != before[name]}
            if changed:
                await tx.execute(sa.update(table).where(table.c.id == after["id"]).values(changed))

    def _rows(self) -> Iterable[tuple[sa.Table, dict[str, Any], dict[str, Any]]]:
        for before, after in zip(self._steps_before, self.steps, strict=True):
            yield steps, before, after
        yield jobs, self._job_before, self.job

    def to_domain(self) -> Job:
        """Returns the job as clients see it."""
        job = self.job
        progress = JobProgress.model_construct(
            id=job["id"],
            start_date=job["start_date"],
            end_date=job["end_date"],
            progress=self._overall_progress(),
            status=ProgressStatus(job["status"]),
            steps=[_to_domain(step) for step in self.steps],
        )
        return Job.model_construct(
            progress=progress,
            kind=JobKind(job["kind"]),
            resource_uri=job["resource_uri"],
            resource_name=job["resource_name"],
            owner_id=job["owner_id"],
            cancel_requested=job["cancel_requested"],
            revision=job["revision"],
            created_at=job["created_at"],
        )

    def _overall_progress(self) -> ProgressValue:
        done = sum(
            _STEP_SHARE
            if step["status"] == ProgressStatus.DONE
            else _STEP_SHARE * step["value"] // max(step["max"], 1)
            for step in self.steps
        )
        return ProgressValue.model_construct(value=done, max=_STEP_SHARE * len(self.steps))


def _to_domain(step: dict[str, Any]) -> ProgressStep:
    # Not validated: the rows are our own, and pages of jobs have hundreds of steps.
    return ProgressStep.model_construct(
        id=step["id"],
        model_label=step["model_label"],
        compute_name=step["compute_name"],
        restarts=max(step["attempt"] - 1, 0),
        step_code=StepCode(step["code"]),
        start_date=step["start_date"],
        end_date=step["end_date"],
        messages=step["messages"] or None,
        error_message=step["error_message"],
        progress=ProgressValue.model_construct(value=step["value"], max=step["max"]),
        status=ProgressStatus(step["status"]),
    )


# What clients see of a step; the rest, some of it large JSON, is read only by those who change states.
_PUBLIC = (
    *(steps.c.id, steps.c.job_id, steps.c.position, steps.c.code, steps.c.model_label, steps.c.compute_name),
    *(steps.c.attempt, steps.c.start_date, steps.c.end_date, steps.c.status, steps.c.value, steps.c.max),
    *(steps.c.messages, steps.c.error_message),
)
_OF_JOB = sa.select(steps).where(steps.c.job_id == sa.bindparam("job_id")).order_by(steps.c.position)
_OF_JOBS = sa.select(*_PUBLIC).where(steps.c.job_id.in_(sa.bindparam("job_ids", expanding=True)))
_OF_JOBS = _OF_JOBS.order_by(steps.c.job_id, steps.c.position)


async def load_state(connection: AsyncConnection, row: sa.RowMapping) -> JobState:
    """Reads all of the steps of the job in `row`, to change them."""
    found = await connection.execute(_OF_JOB, {"job_id": row["id"]})
    return JobState(dict(row), [dict(step) for step in found.mappings()])


async def read_jobs(connection: AsyncConnection, rows: Sequence[sa.RowMapping]) -> list[Job]:
    """Reads the jobs in `rows` as clients see them; keeps the order."""
    by_job: dict[str, list[dict[str, Any]]] = {row["id"]: [] for row in rows}
    found = await connection.execute(_OF_JOBS, {"job_ids": list(by_job)}) if rows else None
    for step in found.mappings() if found is not None else ():
        by_job[step["job_id"]].append(dict(step))
    return [JobState(dict(row), by_job[row["id"]]).to_domain() for row in rows]
