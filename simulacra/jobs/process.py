"""Runs tasks in a pool of warm worker processes on this machine: the embedded default."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

from simulacra.errors import WorkerLost
from simulacra.jobs.plan import Resources
from simulacra.jobs.scratch import DEFAULT_SCRATCH, new_scratch, sweep_scratch
from simulacra.jobs.task import TaskProgress, TaskResult, decode_event

__all__ = ["ProcessExecutor"]

_LINE_LIMIT = 64 << 20
_KEPT_LINES = 5
_KEPT_LENGTH = 200
_WAITING_LINES = 1000
# How long a thread of a parallel loop waits busily for the others. With the default, 300,000, a training that
# shares its cores with anything else takes four to ten times as long as alone; with this, twice as long.
_SPINS = "1000"
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class ProcessExecutor:
    """Workers are started ahead with their modules imported, and used again for task after task.

    Each is a session of its own, so that killing it takes its children along, and it dies with this process.

    Args:
        artifacts_url: Where workers find artifacts.
        slots: How many tasks run at once.
        warm: How many idle workers to keep.
        preload: Modules that workers import before their first task.
        scratch: Folder for the tasks' local files; a temporary one by default.
    """

    def __init__(
        self,
        artifacts_url: str,
        *,
        slots: int,
        warm: int = 1,
        preload: Sequence[str] = ("simulacra.engine",),
        scratch: Path | None = None,
    ) -> None:
        self._artifacts_url = artifacts_url
        self._slots = asyncio.Semaphore(slots)
        self._size = slots
        self._warm = min(warm, slots)
        self._preload = tuple(preload)
        self._scratch = scratch or DEFAULT_SCRATCH
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()

    async def start(self) -> None:
        """Removes what killed processes left in the scratch folder and starts the warm workers."""
        await asyncio.to_thread(sweep_scratch, self._scratch)
        while len(self._idle) + len(self._busy) < self._warm:
            self._idle.append(await self._spawn())

    async def stop(self) -> None:
        """Kills all workers."""
        workers = [*self._idle, *self._busy]
        self._idle.clear()
        await asyncio.gather(*(worker.kill() for worker in workers))

    @property
    def worker_pids(self) -> Sequence[int]:
        """The process ids of all workers."""
        return [worker.pid for worker in (*self._idle, *self._busy)]

    async def run(
        self,
        task: str,
        payload: Mapping[str, Any],
        *,
        resources: Resources | None = None,
        attempt: int = 1,
        affinity: str | None = None,
    ) -> AsyncGenerator[TaskProgress | TaskResult, None]:
        """Runs a task in a worker; see `Executor.run`."""
        needs = resources or Resources()
        request = {
            "task": task,
            "payload": dict(payload),
            "attempt": attempt,
            "cpus": needs.cpus,
            "gpus": needs.gpus,
        }
        async with self._slots, self._own_scratch() as scratch:
            worker = await self._take(affinity)
            finished = False
            try:
                async for event in worker.perform(request | {"scratch": str(scratch)}):
                    finished = "progress" not in event
                    yield decode_event(event)
            finally:
                await self._give_back(worker, healthy=finished)

    @contextlib.asynccontextmanager
    async def _own_scratch(self) -> AsyncGenerator[Path, None]:
        scratch = await asyncio.to_thread(new_scratch, self._scratch)
        try:
            yield scratch
        finally:
            await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)

    async def _take(self, affinity: str | None) -> "_Worker":
        """Takes the idle worker that fits, a new one while there is room, or the one idle for longest."""
        self._idle, dead = _partition(self._idle)
        for worker in dead:
            await worker.kill()
        fitting = [worker for worker in self._idle if worker.affinity == affinity]
        fitting += [worker for worker in self._idle if worker.affinity is None]
        if not fitting and len(self._idle) + len(self._busy) >= self._size:
            fitting = self._idle
        if fitting:
            worker = fitting[0]
            self._idle.remove(worker)
        else:
            worker = await self._spawn()
        worker.affinity = affinity or worker.affinity
        self._busy.add(worker)
        return worker

    async def _give_back(self, worker: "_Worker", *, healthy: bool) -> None:
        if healthy and worker.is_alive:
            self._busy.discard(worker)
            self._idle.append(worker)
            surplus = [idle for idle in self._idle if idle.affinity is None][self._warm :]
            surplus += self._idle[: max(len(self._idle) - len(surplus) - self._size, 0)]
        else:
            surplus = [worker]
        for each in surplus:
            # Not interrupted by a second cancellation: a worker that is not needed must not be left.
            await asyncio.shield(each.kill())
            self._busy.discard(each)
            self._idle = [idle for idle in self._idle if idle is not each]

    async def _spawn(self) -> "_Worker":
        # Workers need no secret of the platform; only the driver talks to the database and to other services.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SIMULACRA_")}
        for name in _THREAD_VARIABLES:
            environment.setdefault(name, str(os.cpu_count() or 1))
        environment.setdefault("GOMP_SPINCOUNT", _SPINS)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "simulacra.jobs.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            limit=_LINE_LIMIT,
            start_new_session=True,
        )
        worker = _Worker(process)
        settings = {"artifacts_url": self._artifacts_url, "preload": self._preload, "path": sys.path}
        try:
            await worker.send(settings)
        except BaseException:
            await asyncio.shield(worker.kill())
            raise
        return worker


class _Worker:
    """One worker process and the pipes to it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.affinity: str | None = None
        self._is_ready = False
        self._last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._log: asyncio.Queue[str] = asyncio.Queue()
        self._stderr = asyncio.create_task(self._read_stderr())

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    async def send(self, document: Mapping[str, Any]) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(ConnectionError):  # a dead worker is noticed when it does not answer
            stdin.write(json.dumps(document).encode() + b"\n")
            await stdin.drain()

    async def perform(self, request: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Sends a task and yields its events until its end; lines of standard error become log events."""
        await self.send(request)
        stdout = self._process.stdout
        assert stdout is not None
        while True:
            line = await stdout.readline()
            if not line.endswith(b"\n"):
                raise await self._lost()
            event = json.loads(line)
            if "ready" in event:
                continue
            while not self._log.empty():
                yield {"progress": {"log": self._log.get_nowait()}}
            yield event
            if "progress" not in event:
                return

    async def kill(self) -> None:
        """Kills the process and its children, and waits until it is gone."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        await self._stderr
        if self._process.stdin is not None:
            self._process.stdin.close()
            with contextlib.suppress(ConnectionError):
                await self._process.stdin.wait_closed()

    async def _lost(self) -> WorkerLost:
        await self.kill()
        code = self._process.returncode or 0
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        hint = "; the machine may have run out of memory" if code == -signal.SIGKILL else ""
        last = f"; its last words: {' | '.join(self._last_lines)}" if self._last_lines else ""
        return WorkerLost(f"the worker process ended {how}{hint}{last}", exit_code=str(code))

    async def _read_stderr(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        while line := await stderr.readline():
            text = line.decode(errors="replace").rstrip()
            self._last_lines.append(text[:_KEPT_LENGTH])
            if self._log.qsize() < _WAITING_LINES:
                self._log.put_nowait(text)


def _partition(workers: Sequence["_Worker"]) -> tuple[list["_Worker"], list["_Worker"]]:
    return [w for w in workers if w.is_alive], [w for w in workers if not w.is_alive]
