"""The two computes that exist without being made: this machine's workers, and the Ray cluster."""

import os
from datetime import UTC, datetime
from typing import Any

from simulacra.domain import Compute, ComputeResources, ComputeType
from simulacra.errors import ResourceNotFound
from simulacra.jobs.computes import LOCAL_COMPUTE_ID, RAY_COMPUTE_ID
from simulacra_gateway.settings import GatewaySettings
from simulacra_gateway.store import GatewayStore

__all__ = ["Computes"]


class Computes:
    """Reads computes; the ones from the settings are written at each start."""

    def __init__(self, store: GatewayStore, settings: GatewaySettings) -> None:
        self._store = store
        self._settings = settings

    async def put_configured(self) -> None:
        """Writes the computes of the settings."""
        settings = self._settings
        local = ComputeResources(
            cpus=settings.local_cpus or os.cpu_count() or 1, memory=settings.local_memory_gb
        )
        ray = ComputeResources(
            cpus=settings.ray_cpus,
            memory=settings.ray_memory_gb,
            gpus=settings.ray_gpus,
            gpu_memory=settings.ray_gpu_memory_gb,
        )
        rows = [
            (LOCAL_COMPUTE_ID, "Local", ComputeType.LOCAL, local),
            (RAY_COMPUTE_ID, "Ray", ComputeType.RAY, ray),
        ]
        async with self._store.database.begin() as tx:
            for index, (id_, name, type_, resources) in enumerate(rows):
                compute = Compute(id=id_, name=name, type=type_, resources=resources, order_index=index)
                await self._store.put_compute(
                    tx,
                    id=id_,
                    name=name,
                    owner_id="",
                    owner_name="",
                    created_at=datetime.now(UTC),
                    order_index=index,
                    document=compute.model_dump(mode="json"),
                )

    async def all(self) -> list[Compute]:
        """Returns all computes in their order; everybody may use them."""
        return [_compute(row["document"]) for row in await self._store.all_computes()]

    async def get(self, compute_id: str) -> Compute:
        """Returns one compute.

        Raises:
            ResourceNotFound: If there is none with this id.
        """
        for compute in await self.all():
            if compute.id == compute_id:
                return compute
        raise ResourceNotFound(f"there is no compute {compute_id!r}", id=compute_id, resource="compute")


def _compute(document: dict[str, Any]) -> Compute:
    return Compute.model_validate(document)
