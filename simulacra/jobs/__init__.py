"""Durable jobs: plan steps, run them in worker processes or on Ray, follow them.

Names are loaded when first used (PEP 562): a worker process that needs only `TaskProgress` imports no
database.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulacra.jobs.context import Handler, StepContext, StepResult
    from simulacra.jobs.executor import Executor
    from simulacra.jobs.plan import JobPlan, Resources, StepPlan
    from simulacra.jobs.process import ProcessExecutor
    from simulacra.jobs.ray_executor import RayExecutor
    from simulacra.jobs.runner import Runner
    from simulacra.jobs.servicer import JobServicer
    from simulacra.jobs.store import JobObserver, JobPage, JobStore
    from simulacra.jobs.task import Task, TaskContext, TaskCrashed, TaskProgress, TaskResult
    from simulacra.jobs.watch import JobWatcher

__all__ = [
    "Executor",
    "Handler",
    "JobObserver",
    "JobPage",
    "JobPlan",
    "JobServicer",
    "JobStore",
    "JobWatcher",
    "ProcessExecutor",
    "RayExecutor",
    "Resources",
    "Runner",
    "StepContext",
    "StepPlan",
    "StepResult",
    "Task",
    "TaskContext",
    "TaskCrashed",
    "TaskProgress",
    "TaskResult",
]

_MODULES = {
    "context": ("Handler", "StepContext", "StepResult"),
    "executor": ("Executor",),
    "plan": ("JobPlan", "Resources", "StepPlan"),
    "process": ("ProcessExecutor",),
    "ray_executor": ("RayExecutor",),
    "runner": ("Runner",),
    "servicer": ("JobServicer",),
    "store": ("JobObserver", "JobPage", "JobStore"),
    "task": ("Task", "TaskContext", "TaskCrashed", "TaskProgress", "TaskResult"),
    "watch": ("JobWatcher",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Loads an exported name from the module that defines it."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
