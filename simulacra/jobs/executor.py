"""What the runner needs of an executor: run a task somewhere, stream its progress, leave nothing behind."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Protocol

from simulacra.jobs.plan import Resources
from simulacra.jobs.task import TaskProgress, TaskResult

__all__ = ["Executor"]


class Executor(Protocol):
    """Runs tasks: in worker processes (`ProcessExecutor`) or on a Ray cluster (`RayExecutor`)."""

    async def start(self) -> None:
        """Gets ready, so that the first task starts fast."""

    async def stop(self) -> None:
        """Ends all tasks and workers."""

    def run(
        self,
        task: str,
        payload: Mapping[str, Any],
        *,
        resources: Resources | None = None,
        attempt: int = 1,
        affinity: str | None = None,
    ) -> AsyncGenerator[TaskProgress | TaskResult, None]:
        """Runs a task; yields its progress and, last, its result.

        When the generator is closed or its consumer cancelled, the task is killed before that returns.

        Args:
            task: `package.module:function`, a task as in `simulacra.jobs.task`.
            payload: Its input, JSON.
            resources: What it needs; one core if not given.
            attempt: The attempt of the step, which the task learns.
            affinity: Tasks with the same value go to the same warm worker where possible, whose caches they
                share.

        Raises:
            SimulacraError: The task raised it.
            TaskCrashed: The task raised something else.
            WorkerLost: The worker died.
        """
