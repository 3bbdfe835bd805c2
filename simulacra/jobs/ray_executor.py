"""Runs tasks as actors on a Ray cluster: the distributed default.

Each task is an actor of its own, with the cores, accelerators and memory that it asks for. It is killed when
its consumer is done, for a generator that is merely abandoned would go on, and a busy one hears of nothing
else.
"""

import asyncio
import contextlib
import os
import tempfile
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping
from pathlib import Path
from typing import Any

from simulacra.errors import LimitExceeded, ServiceUnavailable, WorkerLost
from simulacra.jobs.plan import Resources
from simulacra.jobs.scratch import DEFAULT_SCRATCH, sweep_scratch
from simulacra.jobs.task import TaskContext, TaskProgress, TaskResult, decode_event, run_task
from simulacra.logs import get_logger

__all__ = ["RayExecutor", "TaskActor"]

_ENVIRONMENT = {
    # Despite its name, on Linux this makes every part of a local Ray listen on loopback only.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
}
_PATIENCE_SECONDS = 2.0
_GIGABYTE = 10**9

_logger = get_logger("simulacra.jobs")


class TaskActor:
    """What runs a task on a node of the cluster."""

    def run(
        self, artifacts_url: str, task: str, payload: dict[str, Any], attempt: int, cpus: int, gpus: int
    ) -> Iterator[dict[str, Any]]:
        """Yields the events of `run_task`."""
        from simulacra.artifacts import ArtifactStore
        from simulacra.jobs.worker import use_threads

        use_threads(cpus)
        artifacts = ArtifactStore.from_url(artifacts_url)
        sweep_scratch(DEFAULT_SCRATCH)
        with tempfile.TemporaryDirectory(prefix=f"{os.getpid()}-", dir=DEFAULT_SCRATCH) as scratch:
            yield from run_task(task, payload, TaskContext(artifacts, attempt, Path(scratch), cpus, gpus))


class RayExecutor:
    """Tasks on a Ray cluster.

    Args:
        artifacts_url: Where tasks find artifacts; every node must be able to reach it.
        address: The cluster's address. Without one, a cluster of this machine is started, on loopback only.
        num_cpus: Cores of a cluster that is started here; by default what the machine has.
        num_gpus: Accelerators of a cluster that is started here, which may be logical.
        autoscaling: Whether nodes may be added to the cluster, so that a task which no present node can hold
            waits.
    """

    def __init__(
        self,
        artifacts_url: str,
        *,
        address: str | None = None,
        num_cpus: int | None = None,
        num_gpus: int | None = None,
        autoscaling: bool = False,
    ) -> None:
        self._artifacts_url = artifacts_url
        self._address = address
        self._own_size = {"num_cpus": num_cpus, "num_gpus": num_gpus}
        self._autoscaling = autoscaling
        self._connecting: asyncio.Task[None] | None = None
        self._actors: set[Any] = set()

    async def start(self) -> None:
        """Begins to connect, in the background; the first task waits for it."""
        self._connecting = asyncio.create_task(asyncio.to_thread(self._connect))

    async def stop(self) -> None:
        """Kills all tasks, and the cluster if it was started here and nobody else in this process uses it."""
        if self._connecting is not None:
            await asyncio.wait([self._connecting])
            for actor in list(self._actors):
                await self._kill(actor)
            if self._connecting.exception() is None:
                await asyncio.to_thread(_cluster.leave)
            self._connecting = None

    async def run(
        self,
        task: str,
        payload: Mapping[str, Any],
        *,
        resources: Resources | None = None,
        attempt: int = 1,
        affinity: str | None = None,
    ) -> AsyncGenerator[TaskProgress | TaskResult, None]:
        """Runs a task as an actor of its own, whatever its `affinity`; see `Executor.run`."""
        await self._connected()
        needs = resources or Resources()
        await asyncio.to_thread(self._check_room, needs)
        making = asyncio.ensure_future(asyncio.to_thread(_make_actor, needs))
        try:
            actor = await asyncio.shield(making)
        except asyncio.CancelledError:
            await self._kill(await making)
            raise
        self._actors.add(actor)
        try:
            async for waiting in self._placed(actor, needs):
                yield waiting
            stream = actor.run.remote(
                self._artifacts_url, task, dict(payload), attempt, max(needs.cpus, 1), needs.gpus
            )
            async for event in _events(stream):
                yield decode_event(event)
        finally:
            await asyncio.shield(self._kill(actor))

    async def _connected(self) -> None:
        if self._connecting is None:
            await self.start()
        assert self._connecting is not None
        try:
            await asyncio.shield(self._connecting)
        except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
            self._connecting = None  # the next task tries again
            where = f"at {self._address}" if self._address else "of this machine"
            raise ServiceUnavailable(
                f"the Ray cluster {where} cannot be reached: {error}", retry_after=5.0, service="ray"
            ) from error

    def _connect(self) -> None:
        options: dict[str, Any] = {
            "log_to_driver": False,
            "configure_logging": False,
            "namespace": "simulacra",
        }
        if self._address is None:
            options |= {"include_dashboard": False, **self._own_size}
        _cluster.join(address=self._address or "local", **options)

    def _check_room(self, needs: Resources) -> None:
        """Raises `LimitExceeded` if no node is large enough, and none may come."""
        import ray

        if self._autoscaling:
            return
        wanted = _wanted(needs)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        if any(all(node.get(name, 0.0) >= amount for name, amount in wanted.items()) for node in nodes):
            return
        largest = {name: max((node.get(name, 0.0) for node in nodes), default=0.0) for name in wanted}
        raise LimitExceeded(
            f"no node of the Ray cluster can hold this task: it needs {_spelled(wanted)}, the most that any"
            f" node has is {_spelled(largest)}; choose a smaller compute or add a larger node",
            needed=_spelled(wanted),
            largest=_spelled(largest),
        )

    async def _placed(self, actor: Any, needs: Resources) -> AsyncGenerator[TaskProgress, None]:
        """Waits until the actor runs; yields one message if it has to wait for resources."""
        ready = asyncio.ensure_future(_result(actor.__ray_ready__.remote()))
        told = False
        try:
            while not (await asyncio.wait([ready], timeout=_PATIENCE_SECONDS))[0]:
                if not told and not await asyncio.to_thread(_is_free, needs):
                    told = True
                    waiting = f"waits for {_spelled(_wanted(needs))} to be free on the Ray cluster"
                    yield TaskProgress(message={"waiting": waiting}, log=waiting)
            await ready
        finally:
            ready.cancel()

    async def _kill(self, actor: Any) -> None:
        import ray

        with contextlib.suppress(ValueError):  # it is gone already
            await asyncio.to_thread(ray.kill, actor)
        self._actors.discard(actor)


def _make_actor(needs: Resources) -> Any:
    import ray

    options: dict[str, Any] = {
        "num_cpus": needs.cpus,
        "num_gpus": needs.gpus,
        "max_restarts": 0,
        "max_task_retries": 0,
    }
    if needs.memory_gb:
        options["memory"] = int(needs.memory_gb * _GIGABYTE)
    return ray.remote(**options)(TaskActor).remote()


async def _events(stream: Any) -> AsyncGenerator[dict[str, Any], None]:
    async for reference in stream:
        event = await _result(reference)
        yield event
        if "progress" not in event:
            return


async def _result(reference: Any) -> Any:
    from ray.exceptions import RayError

    try:
        return await reference
    except RayError as error:
        raise WorkerLost(
            f"the Ray actor of this task was lost: {str(error).strip().splitlines()[0]}"
        ) from error


def _wanted(needs: Resources) -> dict[str, float]:
    wanted = {"CPU": float(needs.cpus), "GPU": float(needs.gpus), "memory": needs.memory_gb * _GIGABYTE}
    return {name: amount for name, amount in wanted.items() if amount}


def _spelled(resources: Mapping[str, float]) -> str:
    def spelled(name: str, amount: float) -> str:
        return f"{amount / _GIGABYTE:g} GB of memory" if name == "memory" else f"{amount:g} {name}"

    return " and ".join(spelled(name, amount) for name, amount in resources.items()) or "nothing"


def _is_free(needs: Resources) -> bool:
    import ray

    free = ray.available_resources()  # type: ignore[no-untyped-call]
    return all(free.get(name, 0.0) >= amount for name, amount in _wanted(needs).items())


class _Cluster:
    """This process's connection to Ray, which is one for all executors in it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._is_ours = False

    def join(self, **options: Any) -> None:
        """Connects, unless another executor or whoever shares the process has."""
        os.environ.update({name: os.environ.get(name, value) for name, value in _ENVIRONMENT.items()})
        import ray

        with self._lock:
            if not ray.is_initialized():
                ray.init(**options)
                self._is_ours = True
            self._users += 1

    def leave(self) -> None:
        """Disconnects with the last one, which ends a cluster that was started here."""
        import ray

        with self._lock:
            self._users -= 1
            if self._users == 0 and self._is_ours:
                ray.shutdown()
                self._is_ours = False


_cluster = _Cluster()
