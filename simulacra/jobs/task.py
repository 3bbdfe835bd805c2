"""Worker tasks: plain generators that yield progress and return a result, wherever an executor runs them.

    def train(payload: dict[str, Any], context: TaskContext) -> Task:
        for epoch in range(payload["epochs"]):
            ...
            yield TaskProgress(value=epoch + 1, max=payload["epochs"])
        return {"loss": loss}

A `SimulacraError` that a task raises is for the user's eyes and is not retried unless its code says "try
again"; any other exception, or the death of the worker, is a failed attempt.
"""

import importlib
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulacra.artifacts import ArtifactStore
from simulacra.errors import FieldViolation, SimulacraError, error_class

__all__ = ["Task", "TaskContext", "TaskCrashed", "TaskProgress", "TaskResult", "decode_event", "run_task"]


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """How far a task is: what is None stays as it was.

    Attributes:
        value: How much is done, of `max`.
        max: How much there is to do.
        message: JSON that is added to the step's messages, such as the losses of an epoch.
        log: A line for the job's log.
    """

    value: int | None = None
    max: int | None = None
    message: Mapping[str, Any] | None = None
    log: str | None = None


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What a task returned: JSON."""

    output: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TaskContext:
    """What a task may use.

    Attributes:
        artifacts: The platform's artifacts.
        attempt: The attempt of the step that this is part of.
        scratch: A local folder, deleted after the task.
        cpus: How many threads to use.
        gpus: How many accelerators there are for this task.
    """

    artifacts: ArtifactStore
    attempt: int
    scratch: Path
    cpus: int
    gpus: int


Task = Generator[TaskProgress, None, dict[str, Any]]
"""What a task function returns when called: it yields progress and returns its result as JSON."""


class TaskCrashed(Exception):
    """A task raised something that is not a `SimulacraError`; `details` is the worker's traceback."""

    def __init__(self, message: str, details: str) -> None:
        super().__init__(message)
        self.details = details


def run_task(name: str, payload: dict[str, Any], context: TaskContext) -> Iterator[dict[str, Any]]:
    """Runs a task where a worker is; yields its events as JSON, the last of which is its end.

    Args:
        name: `package.module:function`.
        payload: The task's input.
        context: What it may use.
    """
    try:
        task = _load(name)(payload, context)
        while True:
            try:
                progress = next(task)
            except StopIteration as end:
                yield {"result": end.value}
                return
            yield {
                "progress": {
                    "value": progress.value,
                    "max": progress.max,
                    "message": dict(progress.message) if progress.message is not None else None,
                    "log": progress.log,
                }
            }
    except SimulacraError as error:
        yield {
            "error": {
                "reason": error.reason,
                "message": error.message,
                "violations": [[violation.field, violation.description] for violation in error.violations],
                "metadata": error.metadata,
            }
        }
    except Exception as error:  # whatever a task raises ends its attempt, not the worker
        yield {"crash": {"message": _headline(error), "details": traceback.format_exc()}}


def decode_event(event: Mapping[str, Any]) -> TaskProgress | TaskResult:
    """Returns what an event of `run_task` says, or raises what it says was raised."""
    match event:
        case {"progress": progress}:
            return TaskProgress(**progress)
        case {"result": output}:
            return TaskResult(output or {})
        case {"error": error}:
            violations = [FieldViolation(*violation) for violation in error["violations"]]
            raise error_class(error["reason"])(error["message"], violations=violations, **error["metadata"])
        case _:
            crash = event["crash"]
            raise TaskCrashed(crash["message"], crash["details"])


def _load(name: str) -> Callable[[dict[str, Any], TaskContext], Task]:
    module, _, function = name.partition(":")
    loaded: Callable[[dict[str, Any], TaskContext], Task] = getattr(importlib.import_module(module), function)
    return loaded


def _headline(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
