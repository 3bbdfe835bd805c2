"""What a step's handler gets and gives: the step, earlier outputs; ways to report, log and execute."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from simulacra.artifacts import ArtifactStore
from simulacra.domain import JobKind, LogLevel, StepCode
from simulacra.jobs.executor import Executor
from simulacra.jobs.plan import Resources
from simulacra.jobs.queue import ClaimedStep, LogEntry
from simulacra.jobs.task import TaskResult
from simulacra.rpc.auth import Principal
from simulacra.store import Transaction
from simulacra.store.database import utc_now

__all__ = ["Handler", "Report", "StepContext", "StepResult"]

_MAX_LINE = 8192
_MAX_PENDING_LINES = 1000


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a handler returns.

    Attributes:
        output: JSON that later steps of the job find in their `outputs`.
        commit: Runs in the transaction that makes the step DONE, and only if this attempt still holds the
            step:
            the place for changes of the service's own tables.
    """

    output: Mapping[str, Any] = field(default_factory=dict)
    commit: Callable[[Transaction], Awaitable[None]] | None = None


@dataclass(slots=True)
class Report:
    """What a handler has reported and the runner has not written yet."""

    value: int | None = None
    max: int | None = None
    messages: list[Mapping[str, Any]] = field(default_factory=list)
    log: list[LogEntry] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.value is not None or self.max is not None or bool(self.messages) or bool(self.log)


class StepContext:
    """One attempt at one step."""

    def __init__(self, step: ClaimedStep, executor: Executor, artifacts: ArtifactStore) -> None:
        self._step = step
        self._executor = executor
        self.artifacts = artifacts
        self.reported = asyncio.Event()
        self._report = Report()

    @property
    def job_id(self) -> str:
        """The job."""
        return self._step.job_id

    @property
    def kind(self) -> JobKind:
        """What kind of job it is."""
        return self._step.kind

    @property
    def resource_uri(self) -> str:
        """What the job works on, such as `generators/{id}`."""
        return self._step.resource_uri

    @property
    def resource_id(self) -> str:
        """The id in `resource_uri`."""
        return self._step.resource_uri.rpartition("/")[2]

    @property
    def resource_name(self) -> str:
        """The name of what the job works on."""
        return self._step.resource_name

    @property
    def owner(self) -> Principal:
        """On whose behalf the job runs; calls to other services are made in this name."""
        return self._step.owner

    @property
    def key(self) -> str:
        """The step's key in its plan."""
        return self._step.key

    @property
    def code(self) -> StepCode:
        """What kind of work the step is."""
        return self._step.code

    @property
    def payload(self) -> Mapping[str, Any]:
        """The step's input, from its plan."""
        return self._step.payload

    @property
    def resources(self) -> Resources:
        """What the plan says that the step needs."""
        return self._step.resources

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        return self._step.attempt

    @property
    def outputs(self) -> Mapping[str, Mapping[str, Any]]:
        """The outputs of the job's DONE steps, by key."""
        return self._step.outputs

    @property
    def artifact_prefix(self) -> str:
        """The folder of the artifacts of all attempts at this step, earlier checkpoints included."""
        code = self._step.code.value.lower()
        return f"{self._step.kind.value.lower()}/{self.job_id}/{code}-{self._step.position}"

    def artifact_name(self, suffix: str) -> str:
        """Returns the name of an artifact of this attempt, which no other attempt writes."""
        return f"{self.artifact_prefix}/{self.attempt}-{suffix}"

    async def report(
        self, *, value: int | None = None, max: int | None = None, message: Mapping[str, Any] | None = None
    ) -> None:
        """Tells how far the step is; written at most twice a second, the last state always.

        Args:
            value: How much is done, of `max`.
            max: How much there is to do.
            message: JSON that is added to the step's messages.
        """
        self._report.value = value if value is not None else self._report.value
        self._report.max = max if max is not None else self._report.max
        if message is not None:
            self._report.messages.append(message)
        self.reported.set()

    async def log(self, text: str, level: str | LogLevel = LogLevel.INFO) -> None:
        """Adds a line to the job's log."""
        if len(self._report.log) < _MAX_PENDING_LINES:  # a chatty library must not fill memory
            self._report.log.append(LogEntry(utc_now(), LogLevel(level), text[:_MAX_LINE]))
        self.reported.set()

    async def execute(
        self,
        task: str,
        payload: Mapping[str, Any],
        *,
        resources: Resources | None = None,
        affinity: str | None = None,
        report_value: bool = True,
    ) -> dict[str, Any]:
        """Runs a worker task and reports its progress as the step's.

        Args:
            task: `package.module:function`, a task as in `simulacra.jobs.task`.
            payload: Its input, JSON.
            resources: What it needs; the step's own by default.
            affinity: Tasks with the same value go to the same warm worker where possible.
            report_value: Whether its value and max are the step's; pass False for one of several tasks of a
                step.

        Returns:
            The task's result.

        Raises:
            SimulacraError: The task raised it, or its worker died.
            TaskCrashed: The task raised something else.
        """
        running = self._executor.run(
            task, payload, resources=resources or self.resources, attempt=self.attempt, affinity=affinity
        )
        async with contextlib.aclosing(running):
            async for event in running:
                if isinstance(event, TaskResult):
                    return event.output
                if event.log is not None:
                    await self.log(event.log)
                value, max = (event.value, event.max) if report_value else (None, None)
                await self.report(value=value, max=max, message=event.message)
        raise RuntimeError(f"task {task} ended without a result")

    def take_report(self) -> Report:
        """Returns what is not written yet, and forgets it; for the runner."""
        taken, self._report = self._report, Report()
        self.reported.clear()
        return taken

    def give_back(self, report: Report) -> None:
        """Takes back a report that could not be written; for the runner."""
        newer = self._report
        self._report = Report(
            value=newer.value if newer.value is not None else report.value,
            max=newer.max if newer.max is not None else report.max,
            messages=[*report.messages, *newer.messages],
            log=[*report.log, *newer.log],
        )
        self.reported.set()


Handler = Callable[[StepContext], Awaitable[StepResult]]
"""What a service registers for a step code."""
