"""Worker tasks of tests."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from simulacra.errors import TrainingDataInsufficient
from simulacra.jobs import Task, TaskContext, TaskProgress


def count(payload: dict[str, Any], context: TaskContext) -> Task:
    """Counts to `to`."""
    for value in range(payload["to"]):
        yield TaskProgress(
            value=value + 1, max=payload["to"], message={"at": value + 1}, log=f"counted {value + 1}"
        )
    return {"counted": payload["to"], "pid": os.getpid(), "attempt": context.attempt, "cpus": context.cpus}


def refuse(payload: dict[str, Any], context: TaskContext) -> Task:
    """Fails for a reason that is the user's."""
    yield TaskProgress(value=0)
    raise TrainingDataInsufficient('table "people" has no rows', table="people")


def crash(payload: dict[str, Any], context: TaskContext) -> Task:
    """Fails for a reason that is ours, until the attempt `until`."""
    yield TaskProgress(value=0)
    sys.stderr.write("about to crash\n")
    if context.attempt < payload.get("until", 1000):
        raise RuntimeError("boom")
    return {"attempt": context.attempt}


def die(payload: dict[str, Any], context: TaskContext) -> Task:
    """Kills its own process, as the kernel does when memory runs out, until the attempt `until`."""
    yield TaskProgress(value=0)
    if context.attempt < payload.get("until", 1000):
        sys.stderr.write("last words\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"attempt": context.attempt}


def hang(payload: dict[str, Any], context: TaskContext) -> Task:
    """Never ends; says its process ids in a message, a child's included."""
    child = subprocess.Popen(["sleep", "1000"])
    (context.scratch / "left").write_text("x")
    yield TaskProgress(value=0, message={"pids": [os.getpid(), child.pid], "scratch": str(context.scratch)})
    while True:
        time.sleep(1)


def work_until_file(payload: dict[str, Any], context: TaskContext) -> Task:
    """Works, without reporting, until a file exists."""
    yield TaskProgress(value=0, message={"pid": os.getpid()})
    while not Path(payload["file"]).exists():
        time.sleep(0.02)
    return {"attempt": context.attempt}


def imported(payload: dict[str, Any], context: TaskContext) -> Task:
    """Says which of the given modules were there already, and in which threads and folder it runs."""
    yield TaskProgress()
    environment = sorted(name for name in os.environ if name.startswith("SIMULACRA_"))
    modules = [name for name in payload["modules"] if name in sys.modules]
    return {"modules": modules, "environment": environment, "threads": threading.active_count()}
