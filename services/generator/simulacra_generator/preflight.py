"""What is asked for is tried on the models before a job is started, so that no job ends for a wrong value."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from simulacra.artifacts import ArtifactStore
from simulacra.domain import SyntheticTableConfig
from simulacra.errors import InvalidArgument, ResourceNotFound
from simulacra.jobs import Executor, Resources
from simulacra_generator.peers import ConnectorPeer
from simulacra_generator.seeds import seed_rows
from simulacra_generator.spec import TableControls

__all__ = ["Preflight"]


class Preflight:
    """Tries the controls of a generation.

    Args:
        executor: Workers that load models quickly: those of the probes.
        artifacts: The platform's.
        connectors: Where seeds come from.
        new_id: Gives ids.
    """

    def __init__(
        self,
        executor: Executor,
        artifacts: ArtifactStore,
        connectors: ConnectorPeer,
        *,
        new_id: Callable[[], str],
    ) -> None:
        self._executor = executor
        self._artifacts = artifacts
        self._connectors = connectors
        self._new_id = new_id

    async def check(
        self, controls: Sequence[TableControls], tables: Sequence[SyntheticTableConfig] | None
    ) -> None:
        """Resolves what is asked for as sampling would; seeds of a connector are tried once they are read.

        Raises:
            InvalidArgument: A model cannot do it; the field, the column and the value are named.
        """
        for each in controls:
            await self._check_connector(each)
        configured = {table.name: table.configuration for table in tables or ()}
        prefix = f"probes/{self._new_id()}"
        documents = []
        try:
            for number, each in enumerate(controls):
                configuration = configured.get(each.name)
                seeds = seed_rows(configuration) if configuration is not None else None
                tried = replace(each, rows=each.rows or 0)
                if seeds is not None:
                    tried = replace(tried, seeds=f"{prefix}/{number}")
                    await asyncio.to_thread(self._artifacts.write_table, f"{prefix}/{number}", seeds)
                if tried.steered:
                    documents.append(tried.to_json())
            if documents:
                await self._run(documents)
        finally:
            if any(document["seeds"] for document in documents):
                await asyncio.to_thread(self._artifacts.delete, prefix)

    async def _check_connector(self, controls: TableControls) -> None:
        if controls.seed_connector is None:
            return
        try:
            await self._connectors.get(controls.seed_connector)
        except ResourceNotFound as error:
            raise InvalidArgument.of(controls.seed_field, error.message) from error

    async def _run(self, documents: list[dict[str, object]]) -> None:
        running = self._executor.run(
            "simulacra_generator.tasks:check",
            {"tables": documents},
            resources=Resources(cpus=1),
            affinity="probe",
        )
        async with aclosing(running):
            async for _ in running:
                pass
