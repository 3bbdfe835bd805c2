"""A queue with what a test needs around it."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from simulacra.artifacts import ArtifactStore
from simulacra.domain import Job, JobKind, ProgressStatus, StepCode
from simulacra.jobs import (
    Handler,
    JobPlan,
    JobStore,
    ProcessExecutor,
    Runner,
    StepContext,
    StepPlan,
    StepResult,
)
from simulacra.rpc.auth import Limits, Principal
from simulacra.store import Database, Transaction
from simulacra.store.database import wait_briefly

PULL, TRAIN, REPORT = StepCode.PULL_TRAINING_DATA, StepCode.TRAIN_MODEL, StepCode.CREATE_MODEL_REPORT
TASKS = "tests.kernel_service.tasks"
ANN = Principal(user_id="u1", user_name="ann")


async def run_task(context: StepContext) -> StepResult:
    """The handler of most tests: runs the payload's task with the payload."""
    return StepResult(output=await context.execute(f"{TASKS}:{context.payload['task']}", context.payload))


def step(
    key: str, task: str = "count", *, code: StepCode = TRAIN, after: Sequence[str] = (), **payload: Any
) -> StepPlan:
    return StepPlan(
        key, code, {"task": task, "to": 3, **payload}, after=after, model_label=f"people:{key}", max=3
    )


class Recorder:
    """A service's observer: remembers what it was told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    async def job_changed(self, tx: Transaction, job: Job) -> None:
        self.seen.append((job.resource_uri, job.status.value))

    def of(self, uri: str) -> list[str]:
        return [status for seen, status in self.seen if seen == uri]


class Bench:
    """A job store and the means to run its jobs."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.recorder = Recorder()
        self.store = JobStore(database, observer=self.recorder)
        self.artifacts_url = f"file://{folder / 'artifacts'}"
        self.artifacts = ArtifactStore.from_url(self.artifacts_url)
        self.scratch = folder / "scratch"
        self._exits = contextlib.AsyncExitStack()

    async def submit(
        self,
        *steps: StepPlan,
        owner: Principal = ANN,
        kind: JobKind = JobKind.TRAINING,
        uri: str = "generators/g1",
        priority: int = 0,
    ) -> Job:
        plan = JobPlan(kind, uri, "people", owner, steps or (step("a"),), priority)
        async with self.database.begin() as tx:
            return await self.store.submit(tx, plan)

    def executor(self, **options: Any) -> ProcessExecutor:
        return ProcessExecutor(
            self.artifacts_url, **{"slots": 2, "preload": (), "scratch": self.scratch, **options}
        )

    async def start(
        self,
        handler: Handler = run_task,
        *,
        handlers: Mapping[StepCode | tuple[JobKind, StepCode], Handler] | None = None,
        database: Database | None = None,
        capacity: int = 2,
        lease: float = 15.0,
        renew: float = 5.0,
        worker_id: str | None = None,
    ) -> Runner:
        """Starts a runner, with its own database if it is to be a replica; stopped when the test ends."""
        store = self.store if database is None else JobStore(database, observer=self.recorder)
        runner = Runner(
            store,
            handlers or dict.fromkeys(StepCode, handler),
            self.executor(),
            self.artifacts,
            capacity=capacity,
            worker_id=worker_id,
            lease=timedelta(seconds=lease),
            renew_seconds=renew,
        )
        await runner.start()
        self._exits.push_async_callback(runner.stop)
        return runner

    async def replica(self) -> Database:
        """Opens the same database a second time, as another process would."""
        other = Database(self.database.url.render_as_string(hide_password=False), schema="kernel_service")
        self._exits.push_async_callback(other.close)
        return other

    async def until(self, job: Job, when: Callable[[Job], bool], *, seconds: float = 60.0) -> Job:
        """Waits until the job is in some state."""
        async with asyncio.timeout(seconds):
            with self.database.wakeups() as wake:
                while True:
                    wake.clear()
                    now = await self.store.get(job.id)
                    if when(now):
                        return now
                    await wait_briefly(wake, 0.05)

    async def until_ended(self, job: Job, *, seconds: float = 60.0) -> Job:
        return await self.until(job, lambda now: now.status.is_final, seconds=seconds)

    async def until_message(self, job: Job, key: str) -> Any:
        """Waits until a step has a message with `key`; returns its value."""

        def found(now: Job) -> list[Any]:
            steps = now.progress.steps or []
            return [message[key] for each in steps for message in each.messages or [] if key in message]

        return found(await self.until(job, lambda now: bool(found(now))))[-1]

    async def close(self) -> None:
        await self._exits.aclose()


def statuses(job: Job) -> list[ProgressStatus | None]:
    return [each.status for each in job.progress.steps or []]


def limited(count: int) -> Principal:
    return Principal(user_id="u1", user_name="ann", limits=Limits(parallel_training_jobs=count))
