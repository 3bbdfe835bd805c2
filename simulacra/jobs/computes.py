"""What a task may use of a machine, by the compute that a configuration names."""

import os
from typing import Final
from uuid import NAMESPACE_DNS, uuid5

from pydantic import Field

from simulacra.jobs.plan import Resources
from simulacra.rpc.settings import ServiceSettings

__all__ = ["LOCAL_COMPUTE_ID", "RAY_COMPUTE_ID", "ComputeSettings", "Computes"]

# The computes that exist without being made have the same ids in every installation.
LOCAL_COMPUTE_ID: Final = str(uuid5(NAMESPACE_DNS, "local.computes.simulacra.dev"))
RAY_COMPUTE_ID: Final = str(uuid5(NAMESPACE_DNS, "ray.computes.simulacra.dev"))


class ComputeSettings(ServiceSettings):
    """The settings of services that run models."""

    local_cpus: int | None = Field(
        None, ge=1, description="Cores that the local compute has; default: all. Parallel models share them."
    )
    local_memory_gb: float | None = Field(None, gt=0, description="Memory that a task gets there.")
    ray_cpus: int = Field(1, ge=1, description="Cores that a task gets on the Ray compute.")
    ray_memory_gb: float | None = Field(None, gt=0, description="Memory that a task gets there.")
    ray_gpus: int = Field(0, ge=0, description="GPUs that a task gets there.")


class Computes:
    """The computes that a service can use."""

    def __init__(self, settings: ComputeSettings) -> None:
        local = Resources(
            cpus=settings.local_cpus or os.cpu_count() or 1,
            memory_gb=settings.local_memory_gb or 0,
            compute_id=LOCAL_COMPUTE_ID,
            compute_name="Local",
        )
        ray = Resources(
            cpus=settings.ray_cpus,
            gpus=settings.ray_gpus,
            memory_gb=settings.ray_memory_gb or 0,
            compute_id=RAY_COMPUTE_ID,
            compute_name="Ray",
        )
        self._slots = settings.slots
        uses_ray = settings.executor == "ray"
        self._known = {LOCAL_COMPUTE_ID: local} | ({RAY_COMPUTE_ID: ray} if uses_ray else {})
        self._default = ray if uses_ray else local

    def problem(self, compute_id: str | None) -> str | None:
        """Says what is wrong with a compute's id; None if nothing is."""
        if compute_id is None or compute_id in self._known:
            return None
        if compute_id == RAY_COMPUTE_ID:
            return "this platform runs its jobs in worker processes, not on Ray; choose Local"
        return f"this platform cannot use compute {compute_id!r}; ListComputes shows those there are"

    def resources(self, compute_id: str | None, *, beside: int = 1) -> Resources:
        """Returns what one of so many tasks that run side by side gets of a compute."""
        chosen = self._known[compute_id] if compute_id else self._default
        if chosen.compute_id == RAY_COMPUTE_ID:
            return chosen
        share = max(1, chosen.cpus // max(1, min(beside, self._slots)))
        return Resources(
            cpus=share,
            memory_gb=chosen.memory_gb,
            compute_id=chosen.compute_id,
            compute_name=chosen.compute_name,
        )

    def rounds(self, tasks: int) -> int:
        """Returns how many times the slots must be filled to run so many tasks."""
        return -(-tasks // self._slots)
