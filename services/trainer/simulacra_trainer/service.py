"""What the trainer does with generators, short of training them: create, read, change, clone, delete."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from simulacra.artifacts import ArtifactStore
from simulacra.domain import (
    Generator,
    GeneratorCloneTrainingStatus,
    GeneratorConfig,
    GeneratorListItem,
    ProgressStatus,
    SourceTable,
    generator_config,
    generator_list_item,
)
from simulacra.errors import InvalidArgument, WrongState
from simulacra.jobs import JobStore
from simulacra.rpc import Principal
from simulacra.store import Database, Transaction, body_hash, idempotent, remember, require_unused
from simulacra.store.releases import HeldReferences
from simulacra_trainer.documents import document_of, generator_of
from simulacra_trainer.models import copy_models, generator_prefix, initial_prefix, training_prefix
from simulacra_trainer.sources import Sources, connectors_of
from simulacra_trainer.state import TrainingState
from simulacra_trainer.store import GeneratorRows

__all__ = ["GeneratorService", "uri_of"]


def uri_of(id: str) -> str:
    """Returns the path of a generator."""
    return f"generators/{id}"


class GeneratorService:
    """Generators as resources.

    Args:
        database: The trainer's.
        rows: The generators.
        jobs: Their trainings.
        artifacts: The platform's.
        sources: Tables at connectors.
        references: The connectors that generators use.
        new_id: Gives ids.
    """

    def __init__(
        self,
        database: Database,
        rows: GeneratorRows,
        jobs: JobStore,
        artifacts: ArtifactStore,
        sources: Sources,
        references: HeldReferences,
        *,
        new_id: Callable[[], str],
    ) -> None:
        self._database = database
        self._rows = rows
        self._jobs = jobs
        self._artifacts = artifacts
        self._sources = sources
        self._references = references
        self._new_id = new_id

    async def create(
        self, viewer: Principal, config: GeneratorConfig, *, request_id: str | None
    ) -> Generator:
        """Makes a generator of a config, whose sources are checked first; nothing is left if that fails."""
        digest = body_hash(config.model_dump(mode="json"))
        earlier = await self._earlier(viewer, "CreateGenerator", request_id, digest)
        if earlier is not None:
            return await self.get(viewer, earlier)
        id = self._new_id()
        tables = await self._sources.tables(config.tables or ())
        name = config.name or (f"Generator of {tables[0].name}" if tables else "Generator")
        generator = Generator(
            id=id,
            name=name[:256],
            description=config.description,
            training_status=ProgressStatus.NEW,
            metadata={},
            tables=tables,
            seed=config.seed,
        )
        return await self._insert(viewer, generator, TrainingState(), "CreateGenerator", request_id, digest)

    async def get(
        self, viewer: Principal, id: str, *, table_name: str | None = None, values: bool = False
    ) -> Generator:
        """Reads a generator, or one table of it; `values` of value ranges only for one table.

        Raises:
            ResourceNotFound: There is none that `viewer` may see.
            InvalidArgument: It has no such table, or all values of all tables were asked for.
        """
        if values and table_name is None:
            raise InvalidArgument.of(
                "table_name", "is required with view FULL: values are returned for one table"
            )
        async with self._database.read() as connection:
            row = await self._rows.get(connection, viewer, id)
            counts = await self._rows.counts(connection, [id])
        generator = generator_of(row, viewer, counts[id], values=values)
        if table_name is None:
            return generator
        try:
            return generator.model_copy(update={"tables": [generator.table(table_name)]})
        except KeyError as error:
            raise InvalidArgument.of("table_name", str(error.args[0])) from None

    async def list(
        self,
        viewer: Principal,
        *,
        search_term: str,
        statuses: Sequence[ProgressStatus],
        page_size: int,
        page_token: str,
    ) -> tuple[list[GeneratorListItem], str, int]:
        """Reads a page: its items, the next page's token, and how many there are in all."""
        async with self._database.read() as connection:
            page = await self._rows.list(
                connection,
                viewer,
                search_term=search_term,
                statuses=statuses,
                page_size=page_size,
                page_token=page_token,
            )
            counts = await self._rows.counts(connection, [row["id"] for row in page.rows])
        items = [
            generator_list_item(generator_of(row, viewer, counts[row["id"]], values=False))
            for row in page.rows
        ]
        return items, page.next_page_token, page.total_count

    async def config(self, viewer: Principal, id: str) -> GeneratorConfig:
        """Reads what may be written of a generator."""
        return generator_config(await self.get(viewer, id))

    async def update(self, viewer: Principal, id: str, changes: Mapping[str, Any]) -> Generator:
        """Changes name and description."""
        wrong = sorted(changes.keys() - {"name", "description"})
        if wrong or not changes:
            raise InvalidArgument.of(
                "update_mask", f'must name "name" or "description", got {wrong or "nothing"}'
            )

        if changes.get("name", "") is None:
            raise InvalidArgument.of("name", "cannot be taken away; give another one")

        async def change(tx: Transaction, generator: Generator, state: TrainingState) -> Generator:
            return generator.updated(changes)

        return await self.change(viewer, id, change)

    async def change(
        self,
        viewer: Principal,
        id: str,
        change: Callable[[Transaction, Generator, TrainingState], Awaitable[Generator]],
    ) -> Generator:
        """Replaces a generator by what `change` makes of it, in one transaction."""
        async with self._database.begin() as tx:
            row = await self._rows.get_for_change(tx, viewer, id)
            state = TrainingState.model_validate(row["state"])
            changed = await change(tx, generator_of(row, viewer, {}), state)
            await self._rows.update(tx, id, name=changed.name, document=document_of(changed))
        return await self.get(viewer, id)

    async def clone(
        self,
        viewer: Principal,
        id: str,
        status: GeneratorCloneTrainingStatus,
        *,
        name: str | None,
        request_id: str | None,
    ) -> Generator:
        """Makes a copy with the same sources and configuration and, for CONTINUE, the same weights."""
        digest = body_hash({"id": id, "status": status.value, "name": name})
        earlier = await self._earlier(viewer, "CloneGenerator", request_id, digest)
        if earlier is not None:
            return await self.get(viewer, earlier)
        async with self._database.read() as connection:
            row = await self._rows.get(connection, viewer, id)
        original = generator_of(row, viewer, {})
        goes_on = status == GeneratorCloneTrainingStatus.CONTINUE
        state = TrainingState.model_validate(row["state"])
        if goes_on and not state.models:
            raise WrongState(
                f'generator "{original.name}" is {original.training_status} and has no weights yet; '
                "clone it with training_status NEW, or train it first",
                current_status=original.training_status.value,
            )
        new_id = self._new_id()
        ids = {table.id: self._new_id() for table in original.tables or ()}
        clone = original.model_copy(
            update={
                "id": new_id,
                "name": name or f"Clone of {original.name}"[:256],
                "training_status": ProgressStatus.CONTINUE if goes_on else ProgressStatus.NEW,
                "tables": [
                    _untrained(table, ids[table.id], keep_ranges=goes_on) for table in original.tables or ()
                ],
                **dict.fromkeys(("training_time", "accuracy", "provenance", "usage")),
            }
        ).updated({})
        initial = None
        if goes_on:
            copies = [
                model.model_copy(update={"table_id": ids[model.table_id]}) for model in state.models or ()
            ]
            initial = await asyncio.to_thread(
                copy_models, self._artifacts, copies, initial_prefix(new_id), reports=False
            )
        new_state = TrainingState(initial_models=initial)
        return await self._insert(viewer, clone, new_state, "CloneGenerator", request_id, digest)

    async def delete(self, viewer: Principal, id: str) -> None:
        """Deletes a generator, its trainings, models and reports.

        Raises:
            WrongState: It is being trained.
            ResourceInUse: Synthetic datasets were made with it.
        """
        async with self._database.begin() as tx:
            row = await self._rows.get_for_change(tx, viewer, id)
            generator = generator_of(row, viewer, {})
            if generator.training_status.is_active:
                raise WrongState(
                    f'generator "{generator.name}" is {generator.training_status}; '
                    "cancel its training first, and let it end",
                    current_status=generator.training_status.value,
                )
            await require_unused(tx, id, what=f'generator "{generator.name}"')
            await self._jobs.delete_for(tx, uri_of(id))
            await self._references.release_later(tx, uri_of(id), connectors_of(generator.tables or ()))
            await self._rows.delete(tx, id)
        await self._references.release_due()
        state = TrainingState.model_validate(row["state"])
        folders = [generator_prefix(id), *([training_prefix(state.job_id)] if state.job_id else [])]
        for folder in folders:
            await asyncio.to_thread(self._artifacts.delete, folder)

    async def insert_imported(
        self,
        viewer: Principal,
        generator: Generator,
        state: TrainingState,
        request_id: str | None,
        digest: str,
    ) -> Generator:
        """Adds a generator that came from a file."""
        return await self._insert(viewer, generator, state, "ImportGenerator", request_id, digest)

    async def earlier_import(
        self, viewer: Principal, request_id: str | None, digest: str
    ) -> Generator | None:
        """Returns what the same import made before."""
        earlier = await self._earlier(viewer, "ImportGenerator", request_id, digest)
        return await self.get(viewer, earlier) if earlier is not None else None

    async def _insert(
        self,
        viewer: Principal,
        generator: Generator,
        state: TrainingState,
        method: str,
        request_id: str | None,
        digest: str,
    ) -> Generator:
        """Adds the row and the references to its connectors, or neither."""
        uri = uri_of(generator.id)
        await self._references.take(uri, generator.name or "", connectors_of(generator.tables or ()))
        async with self._database.begin() as tx:
            # Somebody may have sent the same request meanwhile; this transaction has its turn now.
            earlier = await idempotent(tx, viewer.user_id, method, request_id, digest)
            if earlier is None:
                await self._rows.insert(
                    tx,
                    viewer,
                    id=generator.id,
                    name=generator.name or "",
                    document=document_of(generator),
                    training_status=generator.training_status.value,
                    state=state.model_dump(mode="json"),
                )
                await self._references.keep(tx, uri)
                await remember(tx, viewer.user_id, method, request_id, digest, response=generator.id)
        if earlier is not None:
            await self._references.give_back(uri)
        return await self.get(viewer, earlier or generator.id)

    async def _earlier(
        self, viewer: Principal, method: str, request_id: str | None, digest: str
    ) -> str | None:
        if not request_id:
            return None
        async with self._database.begin() as tx:
            return await idempotent(tx, viewer.user_id, method, request_id, digest)


def _untrained(table: SourceTable, id: str, *, keep_ranges: bool) -> SourceTable:
    """Returns a table without what its training found, under another id."""
    columns = [
        column if keep_ranges else column.model_copy(update={"value_range": None}) for column in table.columns
    ]
    unset = dict.fromkeys(("model_metrics", "language_model_metrics", "total_rows"))
    return table.model_copy(update={"id": id, "columns": columns, **unset})
