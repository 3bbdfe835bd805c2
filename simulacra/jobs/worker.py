"""The process that runs tasks for a `ProcessExecutor`: it speaks JSON lines over pipes.

The first line that it reads says how to set itself up, each further one is a task. It answers on what was its
standard output with the task's events; prints of libraries go to standard error, which becomes the job's log.
"""

import contextlib
import ctypes
import importlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

__all__ = ["main", "use_threads"]

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serves tasks until standard input ends."""
    _die_with_parent()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    settings = json.loads(sys.stdin.readline() or "null")
    if settings is None:
        return
    sys.path.extend(path for path in settings["path"] if path not in sys.path)
    for module in settings["preload"]:
        with contextlib.suppress(ImportError):  # what a task needs and lacks is its own clear error later
            importlib.import_module(module)
    _answer(answers, {"ready": True})
    for line in sys.stdin:
        _serve(json.loads(line), settings["artifacts_url"], answers)


def _serve(request: Mapping[str, Any], artifacts_url: str, answers: TextIO) -> None:
    from simulacra.artifacts import ArtifactStore
    from simulacra.jobs.task import TaskContext, run_task

    use_threads(request["cpus"])
    context = TaskContext(
        artifacts=ArtifactStore.from_url(artifacts_url),
        attempt=request["attempt"],
        scratch=Path(request["scratch"]),
        cpus=request["cpus"],
        gpus=request["gpus"],
    )
    for event in run_task(request["task"], request["payload"], context):
        if "crash" in event:
            print(event["crash"]["details"], file=sys.stderr, flush=True)  # noqa: T201 - the log
        _answer(answers, event)


def _answer(answers: TextIO, event: Mapping[str, Any]) -> None:
    answers.write(json.dumps(event) + "\n")
    answers.flush()


def use_threads(count: int) -> None:
    """Sets the thread counts of the loaded libraries; the environment has set those of the others."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(count)
    if (pyarrow := sys.modules.get("pyarrow")) is not None:
        pyarrow.set_cpu_count(count)


def _die_with_parent() -> None:
    """Has the kernel kill this process when its parent dies, however that happens (Linux only)."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent or parent == 1:
        sys.exit(1)
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C in a terminal is for the parent, which then stops us


if __name__ == "__main__":
    main()
