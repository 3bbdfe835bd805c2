"""The tables of a generator that has not been trained: added, changed, removed."""

from collections.abc import Callable, Mapping
from typing import Any

from simulacra.domain import (
    ColumnSchema,
    Generator,
    ProgressStatus,
    SourceTable,
    SourceTableAddConfig,
    TableSchema,
    source_table_config,
)
from simulacra.errors import ResourceNotFound, WrongState
from simulacra.rpc import Principal
from simulacra.store import Database, Transaction, body_hash, idempotent, remember
from simulacra.store.releases import HeldReferences
from simulacra_trainer.configuration import (
    checked,
    reconfigured,
    refuse,
    source_table,
    unsuitable_encodings,
)
from simulacra_trainer.discovery import find_tables, table_configs
from simulacra_trainer.service import GeneratorService, uri_of
from simulacra_trainer.sources import Sources, connectors_of
from simulacra_trainer.state import TrainingState

__all__ = ["TableService"]

_OPEN = (ProgressStatus.NEW, ProgressStatus.CONTINUE, ProgressStatus.FAILED, ProgressStatus.CANCELED)


class TableService:
    """Changes of tables; each checks the whole generator as if it were created so.

    Args:
        database: The trainer's.
        generators: The generators.
        sources: Tables at connectors.
        references: The connectors that generators use.
        new_id: Gives ids.
    """

    def __init__(
        self,
        database: Database,
        generators: GeneratorService,
        sources: Sources,
        references: HeldReferences,
        *,
        new_id: Callable[[], str],
    ) -> None:
        self._database = database
        self._generators = generators
        self._sources = sources
        self._references = references
        self._new_id = new_id

    async def add(
        self, viewer: Principal, id: str, config: SourceTableAddConfig, *, request_id: str | None
    ) -> Generator:
        """Adds a table with the columns and keys that are found at its source.

        With `include_children` also those whose keys point at it, and those that all of these refer to.
        """
        digest = body_hash({"id": id, "config": config.model_dump(mode="json")})
        async with self._database.begin() as tx:
            earlier = await idempotent(tx, viewer.user_id, "AddSourceTable", request_id, digest)
        if earlier is not None:
            return await self._generators.get(viewer, id)
        generator = await self._generators.get(viewer, id)
        _require_open(generator)
        found = await find_tables(self._sources, config, generator)
        tables = [
            source_table(made, _names(each.schema), each.connector, id=self._new_id(), new_id=self._new_id)
            for made, each in zip(table_configs(config, found, generator), found, strict=True)
        ]
        new = [c for c in connectors_of(tables) if c not in connectors_of(generator.tables or ())]
        await self._references.take(uri_of(id), generator.name or "", new)

        async def change(tx: Transaction, current: Generator, state: TrainingState) -> Generator:
            _require_open(current)
            changed = checked(current, [*(current.tables or ()), *tables])
            await self._references.keep(tx, uri_of(id))
            await remember(tx, viewer.user_id, "AddSourceTable", request_id, digest, response=id)
            return changed

        try:
            return await self._generators.change(viewer, id, change)
        except BaseException:
            await self._references.give_back(uri_of(id))
            raise

    async def update(
        self, viewer: Principal, id: str, table_id: str, changes: Mapping[str, Any]
    ) -> Generator:
        """Changes fields of a table's config; its name is changed in the keys that point at it, too."""
        schema = await self._schema(viewer, id, table_id) if "columns" in _roots(changes) else None

        async def change(tx: Transaction, current: Generator, state: TrainingState) -> Generator:
            _require_open(current)
            old = _table(current, table_id)
            _require_kept_codecs(current, state, old, changes)
            config = source_table_config(old).updated(changes)
            if schema is not None:
                refuse(unsuitable_encodings(config, schema))
            new = reconfigured(old, config, new_id=self._new_id)
            tables = [new if table.id == table_id else table for table in current.tables or ()]
            return checked(current, [_renamed(table, old.name, new.name) for table in tables])

        return await self._generators.change(viewer, id, change)

    async def _schema(self, viewer: Principal, id: str, table_id: str) -> TableSchema | None:
        """Reads what a table's source says of it now; None when the table came without a source."""
        table = _table(await self._generators.get(viewer, id), table_id)
        if table.source_connector is None or table.source_connector.id is None:
            return None
        return (await self._sources.find(table.source_connector.id, table.location))[1]

    async def delete(self, viewer: Principal, id: str, table_id: str) -> Generator:
        """Removes a table, and the foreign keys that point at it."""

        async def change(tx: Transaction, current: Generator, state: TrainingState) -> Generator:
            _require_open(current)
            old = _table(current, table_id)
            left = [_without_keys_to(t, old.name) for t in current.tables or () if t.id != table_id]
            unused = [c for c in connectors_of([old]) if c not in connectors_of(left)]
            await self._references.release_later(tx, uri_of(id), unused)
            return checked(current, left)

        changed = await self._generators.change(viewer, id, change)
        await self._references.release_due()
        return changed


def _roots(changes: Mapping[str, Any]) -> set[str]:
    return {path.partition(".")[0] for path in changes}


def _require_open(generator: Generator) -> None:
    if generator.training_status not in _OPEN:
        raise WrongState(
            f'generator "{generator.name}" is {generator.training_status}; its tables can no longer be '
            "changed, clone it to change the copy's",
            current_status=generator.training_status.value,
        )


def _require_kept_codecs(
    generator: Generator, state: TrainingState, table: SourceTable, changes: Mapping[str, Any]
) -> None:
    """A model to go on from fits its columns as they are."""
    if not any(model.table_id == table.id for model in state.initial_models or ()):
        return
    for path in changes:
        if path.partition(".")[0] not in ("name", "model_configuration", "language_model_configuration"):
            raise WrongState(
                f'generator "{generator.name}" goes on from weights that fit table "{table.name}" as it is: '
                f"{path} cannot be changed; clone the original with training_status NEW",
                current_status=generator.training_status.value,
            )


def _table(generator: Generator, id: str) -> SourceTable:
    for table in generator.tables or ():
        if table.id == id:
            return table
    raise ResourceNotFound(
        f'there is no table {id!r} in generator "{generator.name}"', id=id, resource="table"
    )


def _names(schema: TableSchema) -> list[str]:
    columns: list[ColumnSchema] = schema.columns
    return [column.name for column in columns]


def _renamed(table: SourceTable, old: str, new: str) -> SourceTable:
    keys = [
        key.updated({"referenced_table": new}) if key.referenced_table == old else key
        for key in table.foreign_keys or ()
    ]
    return table.updated({"foreign_keys": keys})


def _without_keys_to(table: SourceTable, name: str) -> SourceTable:
    return table.updated(
        {"foreign_keys": [key for key in table.foreign_keys or () if key.referenced_table != name]}
    )
