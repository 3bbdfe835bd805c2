"""Where a generator's tables come from, checked at their connectors."""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Sequence

from simulacra.domain import Connector, ConnectorAccessType, SourceTable, SourceTableConfig, TableSchema
from simulacra.domain.base import Violation
from simulacra.errors import InvalidArgument, LocationNotFound, ResourceNotFound
from simulacra_trainer.configuration import refuse, source_table, unsuitable_encodings
from simulacra_trainer.peers import ConnectorPeer

__all__ = ["Sources", "connectors_of"]

_AT_ONCE = 8
_NOBODY = "generators/none"
"""The user of a table's connector whose table is not to be."""


class Sources:
    """The tables at connectors, as the trainer deals with them.

    Args:
        connectors: The connector service.
        new_id: Gives ids of tables, columns and keys.
    """

    def __init__(self, connectors: ConnectorPeer, *, new_id: Callable[[], str]) -> None:
        self._connectors = connectors
        self._new_id = new_id

    async def tables(self, configs: Sequence[SourceTableConfig]) -> list[SourceTable]:
        """Makes the tables of configs: what has a source is checked first, then `data` are stored as sources.

        Raises:
            InvalidArgument: Naming every field that is wrong.
        """
        with_data = [index for index, config in enumerate(configs) if config.data is not None]
        with_source = [index for index, config in enumerate(configs) if config.data is None]
        made: dict[int, SourceTable] = {}
        try:
            for indices in (with_source, with_data):
                await self._make(made, configs, indices)
        except BaseException:
            await asyncio.shield(self._discard([made[index] for index in with_data if index in made]))
            raise
        return [made[index] for index in range(len(configs))]

    async def _make(
        self, made: dict[int, SourceTable], configs: Sequence[SourceTableConfig], indices: Sequence[int]
    ) -> None:
        at_once = asyncio.Semaphore(_AT_ONCE)

        async def make(index: int) -> list[Violation]:
            async with at_once:
                try:
                    made[index] = await self.table(configs[index])
                except InvalidArgument as error:
                    return [(f"tables.{index}.{item.field}", item.description) for item in error.violations]
            return []

        refuse(itertools.chain.from_iterable(await asyncio.gather(*map(make, indices))))

    async def table(self, config: SourceTableConfig) -> SourceTable:
        """Makes the table of one config; paths of what is wrong are relative to it."""
        id = self._new_id()
        if config.data is not None:
            return await self._stored_table(id, config)
        if config.source_connector_id is None:
            raise InvalidArgument.of(
                "source_connector_id",
                f'table "{config.name}" has no data: give source_connector_id and location, or data',
            )
        connector, schema = await self.find(config.source_connector_id, config.location)
        refuse(unsuitable_encodings(config, schema))
        return source_table(config, _names(schema), connector, id=id, new_id=self._new_id)

    async def find(self, connector_id: str, location: str | None) -> tuple[Connector, TableSchema]:
        """Reads a connector and the schema of a table there.

        Raises:
            InvalidArgument: There is no such connector or table, or the connector only writes.
        """
        try:
            connector = await self._connectors.get(connector_id)
            if connector.access_type is ConnectorAccessType.DESTINATION:
                raise InvalidArgument.of(
                    "source_connector_id",
                    f'connector "{connector.name}" is a DESTINATION: data cannot be read through it; '
                    "make another one with access_type SOURCE",
                )
            return connector, await self._connectors.schema(connector_id, location or "")
        except LocationNotFound as error:
            raise InvalidArgument.of("location", error.message) from error
        except ResourceNotFound as error:
            raise InvalidArgument.of("source_connector_id", error.message) from error

    async def _stored_table(self, id: str, config: SourceTableConfig) -> SourceTable:
        assert config.data is not None
        try:
            connector = await self._connectors.store(config.data, table_id=id, name=config.name)
        except InvalidArgument as error:
            raise InvalidArgument.of("data", error.message) from error
        config = config.model_copy(update={"data": None, "source_connector_id": connector.id})
        try:
            schema = await self._connectors.schema(connector.id, "")
            refuse(unsuitable_encodings(config, schema))
            return source_table(config, _names(schema), connector, id=id, new_id=self._new_id)
        except BaseException:
            await asyncio.shield(self._connectors.release(connector.id, _NOBODY))
            raise

    async def _discard(self, tables: Sequence[SourceTable]) -> None:
        for table in tables:
            if table.source_connector is not None and table.source_connector.id is not None:
                await self._connectors.release(table.source_connector.id, _NOBODY)


def connectors_of(tables: Iterable[SourceTable]) -> list[str]:
    """Returns the ids of the connectors that tables are read from, each once."""
    ids = (table.source_connector.id for table in tables if table.source_connector is not None)
    return list(dict.fromkeys(id for id in ids if id is not None))


def _names(schema: TableSchema) -> list[str]:
    return [column.name for column in schema.columns]
