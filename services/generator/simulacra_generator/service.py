"""What the service does with synthetic datasets, short of generating them: create, read, change, delete."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from simulacra.artifacts import ArtifactStore
from simulacra.domain import (
    BaseResource,
    ForeignKey,
    ProgressStatus,
    SyntheticDataset,
    SyntheticDatasetConfig,
    SyntheticDatasetListItem,
    SyntheticTable,
    SyntheticTableConfig,
    check_tables,
    synthetic_dataset_config,
    synthetic_dataset_list_item,
)
from simulacra.errors import InvalidArgument, WrongState
from simulacra.jobs import JobStore
from simulacra.rpc import Principal
from simulacra.store import Database, Transaction, body_hash, idempotent, remember
from simulacra.store.releases import HeldReferences
from simulacra_generator.controls import require_rows
from simulacra_generator.delivery import check_destination
from simulacra_generator.documents import dataset_of, document_of
from simulacra_generator.peers import ConnectorPeer, TrainedGenerator, TrainerPeer
from simulacra_generator.state import DatasetState
from simulacra_generator.store import DatasetRows

__all__ = ["DatasetService", "dataset_prefix", "uri_of"]

_METHOD = "CreateSyntheticDataset"


def uri_of(id: str) -> str:
    """Returns the path of a synthetic dataset."""
    return f"synthetic-datasets/{id}"


def dataset_prefix(id: str) -> str:
    """Returns the folder of all artifacts that live as long as a dataset."""
    return f"datasets/{id}"


class DatasetService:
    """Synthetic datasets as resources.

    Args:
        database: This service's.
        rows: The datasets.
        jobs: Their generations.
        artifacts: The platform's.
        trainer: Where generators are.
        connectors: Where datasets are delivered through.
        references: The generators that datasets use.
        destinations: The connectors that datasets are delivered through.
        max_rows: Most rows of a table that may be asked for.
        new_id: Gives ids.
    """

    def __init__(
        self,
        database: Database,
        rows: DatasetRows,
        jobs: JobStore,
        artifacts: ArtifactStore,
        trainer: TrainerPeer,
        connectors: ConnectorPeer,
        references: HeldReferences,
        destinations: HeldReferences,
        *,
        max_rows: int,
        new_id: Callable[[], str],
    ) -> None:
        self._database = database
        self._rows = rows
        self._jobs = jobs
        self._artifacts = artifacts
        self._trainer = trainer
        self._connectors = connectors
        self._references = references
        self._destinations = destinations
        self._max_rows = max_rows
        self._new_id = new_id

    async def create(
        self, viewer: Principal, config: SyntheticDatasetConfig, *, request_id: str | None
    ) -> SyntheticDataset:
        """Makes a dataset of a config that fits its trained generator."""
        digest = body_hash(config.model_dump(mode="json"))
        if request_id:
            async with self._database.begin() as tx:
                earlier = await idempotent(tx, viewer.user_id, _METHOD, request_id, digest)
            if earlier is not None:
                return await self.get(viewer, earlier)
        trained = await trained_generator(self._trainer, config.generator_id)
        check_tables(config.tables, trained.generator)
        require_rows(config.tables, self._max_rows)
        dataset = self._new_dataset(config, trained)
        uri, generator_id = uri_of(dataset.id), trained.generator.id
        await check_destination(self._connectors, dataset.delivery)
        await self._references.take(uri, dataset.name, [generator_id])
        await self._destinations.take(uri, dataset.name, _connectors_of(dataset))
        async with self._database.begin() as tx:
            # Somebody may have sent the same request meanwhile; this transaction has its turn now.
            earlier = await idempotent(tx, viewer.user_id, _METHOD, request_id, digest)
            if earlier is None:
                await self._rows.insert(
                    tx,
                    viewer,
                    id=dataset.id,
                    name=dataset.name,
                    document=document_of(dataset),
                    generation_status=dataset.generation_status.value,
                    generator_id=generator_id,
                    state=DatasetState().model_dump(mode="json"),
                )
                await self._references.keep(tx, uri)
                await self._destinations.keep(tx, uri)
                await remember(tx, viewer.user_id, _METHOD, request_id, digest, response=dataset.id)
        if earlier is not None:
            await self._references.give_back(uri)
            await self._destinations.give_back(uri)
        return await self.get(viewer, earlier or dataset.id)

    async def get(self, viewer: Principal, id: str) -> SyntheticDataset:
        """Reads a dataset; raises ResourceNotFound when there is none that `viewer` may see."""
        return (await self.read(viewer, id))[0]

    async def read(self, viewer: Principal, id: str) -> tuple[SyntheticDataset, DatasetState]:
        """Reads a dataset and where its rows are."""
        async with self._database.read() as connection:
            row = await self._rows.get(connection, viewer, id)
            counts = await self._rows.counts(connection, [id])
        return dataset_of(row, viewer, counts[id]), DatasetState.model_validate(row["state"])

    async def list(
        self,
        viewer: Principal,
        *,
        search_term: str,
        statuses: Sequence[ProgressStatus],
        generator_id: str,
        page_size: int,
        page_token: str,
    ) -> tuple[list[SyntheticDatasetListItem], str, int]:
        """Reads a page: its items, the next page's token, and how many there are in all."""
        async with self._database.read() as connection:
            page = await self._rows.list(
                connection,
                viewer,
                search_term=search_term,
                statuses=statuses,
                generator_id=generator_id,
                page_size=page_size,
                page_token=page_token,
            )
            counts = await self._rows.counts(connection, [row["id"] for row in page.rows])
        items = [synthetic_dataset_list_item(dataset_of(row, viewer, counts[row["id"]])) for row in page.rows]
        return items, page.next_page_token, page.total_count

    async def config(self, viewer: Principal, id: str) -> SyntheticDatasetConfig:
        """Reads what may be written of a dataset."""
        return synthetic_dataset_config(await self.get(viewer, id))

    async def update(self, viewer: Principal, id: str, changes: Mapping[str, Any]) -> SyntheticDataset:
        """Changes name, description, and before the generation also the delivery."""
        uri = uri_of(id)
        new: list[str] = []
        if any(path.startswith("delivery") for path in changes):
            before = await self.get(viewer, id)
            after = before.updated(changes)
            await check_destination(self._connectors, after.delivery)
            new = [each for each in _connectors_of(after) if each not in _connectors_of(before)]
            await self._destinations.take(uri, before.name, new)
        try:
            async with self._database.begin() as tx:
                await self._change(tx, viewer, id, changes)
        except BaseException:
            if new:
                await asyncio.shield(self._destinations.give_back(uri))
            raise
        await self._destinations.release_due()
        return await self.get(viewer, id)

    async def _change(self, tx: Transaction, viewer: Principal, id: str, changes: Mapping[str, Any]) -> None:
        row = await self._rows.get_for_change(tx, viewer, id)
        dataset = dataset_of(row, viewer, {})
        status = dataset.generation_status
        changed = dataset.updated(changes)
        if any(path.startswith("delivery") for path in changes):
            if status.is_active or status == ProgressStatus.DONE:
                raise WrongState(
                    f'synthetic dataset "{dataset.name}" is {status}; its delivery can no longer be changed',
                    current_status=status.value,
                )
            kept = _connectors_of(changed)
            await self._destinations.keep(tx, uri_of(id))
            old = [each for each in _connectors_of(dataset) if each not in kept]
            await self._destinations.release_later(tx, uri_of(id), old)
        await self._rows.update(tx, id, name=changed.name, document=document_of(changed))

    async def delete(self, viewer: Principal, id: str) -> None:
        """Deletes a dataset with its rows and files; raises WrongState while it is being generated."""
        async with self._database.begin() as tx:
            row = await self._rows.get_for_change(tx, viewer, id)
            status = ProgressStatus(row["generation_status"])
            if status.is_active:
                raise WrongState(
                    f'synthetic dataset "{row["name"]}" is {status}; '
                    "cancel its generation first, and let it end",
                    current_status=status.value,
                )
            await self._jobs.delete_for(tx, uri_of(id))
            await self._references.release_later(tx, uri_of(id), [row["generator_id"]])
            delivered = _connectors_of(dataset_of(row, viewer, {}))
            await self._destinations.release_later(tx, uri_of(id), delivered)
            await self._rows.delete(tx, id)
        await self._references.release_due()
        await self._destinations.release_due()
        job_id = row["state"].get("job_id")
        for folder in (dataset_prefix(id), *([f"generation/{job_id}"] if job_id else [])):
            await asyncio.to_thread(self._artifacts.delete, folder)

    def _new_dataset(self, config: SyntheticDatasetConfig, trained: TrainedGenerator) -> SyntheticDataset:
        generator = trained.generator
        configured = {table.name: table for table in config.tables or ()}
        tables = []
        for source in generator.tables or ():
            keys = [
                ForeignKey(
                    column=key.column or "",
                    referenced_table=key.referenced_table,
                    is_context=key.is_context,
                    columns=key.columns,
                )
                for key in source.foreign_keys or ()
            ]
            tables.append(
                SyntheticTable(
                    id=self._new_id(),
                    name=source.name,
                    configuration=configured.get(
                        source.name, SyntheticTableConfig(name=source.name)
                    ).configuration,
                    foreign_keys=keys,
                    source_table_total_rows=source.total_rows,
                )
            )
        uri = f"generators/{generator.id}"
        return SyntheticDataset(
            id=self._new_id(),
            generator=BaseResource(id=generator.id, name=generator.name, uri=uri),
            metadata={},
            name=config.name or generator.name or "Synthetic dataset",
            description=config.description,
            generation_status=ProgressStatus.NEW,
            tables=tables,
            delivery=config.delivery,
            accuracy=generator.accuracy,
            seed=config.seed,
        )


def _connectors_of(dataset: SyntheticDataset) -> list[str]:
    return [dataset.delivery.destination_connector_id] if dataset.delivery else []


async def trained_generator(trainer: TrainerPeer, generator_id: str | None) -> TrainedGenerator:
    """Reads the generator that a config names.

    Raises:
        InvalidArgument: It names none.
        ResourceNotFound: There is no such generator that the caller may see.
        WrongState: The generator is not trained.
    """
    if generator_id is None:
        raise InvalidArgument.of("generator_id", "is required")
    return await trainer.trained(generator_id)
