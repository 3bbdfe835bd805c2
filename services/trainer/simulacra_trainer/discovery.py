"""Finds tables at a source: a table, those whose keys point at it, and those that all of these refer to."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from simulacra.domain import (
    Connector,
    Generator,
    SourceTable,
    SourceTableAddConfig,
    SourceTableConfig,
    TableSchema,
)
from simulacra.errors import InvalidArgument, LimitExceeded
from simulacra_trainer.configuration import foreign_keys_of
from simulacra_trainer.sources import Sources

__all__ = ["Found", "find_tables", "table_configs"]

_MOST_TABLES = 200


@dataclass(frozen=True, slots=True)
class Found:
    """A table at a connector."""

    location: str
    connector: Connector
    schema: TableSchema


async def find_tables(sources: Sources, config: SourceTableAddConfig, generator: Generator) -> list[Found]:
    """Returns the table of a config and, with `include_children`, those around it that the generator lacks.

    Children are followed down to the last ones; then references, of the children too, up to the last ones.
    Each table comes after those that it refers to, unless they refer to each other.

    Raises:
        InvalidArgument: There is no such connector or table.
        LimitExceeded: There are more tables than a generator can have.
    """
    connector_id = config.source_connector_id
    known = {
        table.location
        for table in generator.tables or ()
        if table.source_connector is not None and table.source_connector.id == connector_id
    }
    found: dict[str, Found] = {}

    async def visit(locations: Iterable[str]) -> list[Found]:
        """Reads the tables that are not known yet."""
        new = [each for each in dict.fromkeys(locations) if each not in found and each not in known]
        if len(found) + len(new) > _MOST_TABLES:
            raise LimitExceeded(
                f"more than {_MOST_TABLES} tables are connected to {config.location} by keys; "
                "add those that are needed one by one, without include_children",
                limit=str(_MOST_TABLES),
            )
        read = await asyncio.gather(*(sources.find(connector_id, each) for each in new))
        made = [Found(each, *parts) for each, parts in zip(new, read, strict=True)]
        found.update({each.location: each for each in made})
        return made

    known.discard(config.location)
    newest = await visit([config.location])
    if config.include_children:
        while newest:
            newest = await visit(each for table in newest for each in table.schema.referenced_by or ())
        newest = list(found.values())
        while newest:
            newest = await visit(_references(newest))
    return _referenced_first(found)


def table_configs(
    config: SourceTableAddConfig, found: Sequence[Found], generator: Generator
) -> list[SourceTableConfig]:
    """Returns the configs of found tables with the keys of their source, under names that are not taken.

    Keys are not of the context: each table is learnt on its own until somebody says otherwise.

    Raises:
        InvalidArgument: The name that was asked for is taken.
    """
    taken = {table.name for table in generator.tables or ()}
    if config.name in taken:
        raise InvalidArgument.of("config.name", f'table "{config.name}" is in the generator already')
    made: list[SourceTableConfig] = []
    for each in found:
        is_first = each.location == config.location
        name = _free_name((config.name if is_first else None) or _name_of(each.location), taken)
        taken.add(name)
        primary_key = list(each.schema.primary_key or ())
        made.append(
            SourceTableConfig(
                name=name,
                source_connector_id=config.source_connector_id,
                location=each.location,
                model_configuration=config.model_configuration,
                language_model_configuration=config.language_model_configuration,
                primary_key=primary_key[0] if primary_key else None,
                primary_key_columns=primary_key if len(primary_key) > 1 else None,
            )
        )
    targets = [*(generator.tables or ()), *map(_as_target, made)]
    return [
        each.updated({"foreign_keys": foreign_keys_of(table.schema.foreign_keys or (), targets)})
        for each, table in zip(made, found, strict=True)
    ]


def _references(tables: Sequence[Found]) -> list[str]:
    return [key.referenced_location for table in tables for key in table.schema.foreign_keys or ()]


def _referenced_first(found: dict[str, Found]) -> list[Found]:
    ordered: dict[str, Found] = {}
    begun: set[str] = set()

    def visit(location: str) -> None:
        if location in begun or location not in found:
            return
        begun.add(location)
        for referenced in _references([found[location]]):
            visit(referenced)
        ordered[location] = found[location]

    for location in found:
        visit(location)
    return list(ordered.values())


def _as_target(config: SourceTableConfig) -> SourceTable:
    """Returns what keys of other tables may point at, of a table that is not made yet."""
    return SourceTable(
        id="",
        name=config.name,
        location=config.location,
        columns=[],
        primary_key=config.primary_key,
        primary_key_columns=config.primary_key_columns,
    )


def _free_name(base: str, taken: set[str]) -> str:
    name, number = base, 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    return name


def _name_of(location: str) -> str:
    """Returns a table's name: the last part of a path without extensions, or of a dotted name."""
    last = location.rstrip("/").rpartition("/")[2]
    name = last.partition(".")[0] if "/" in location else last.rpartition(".")[2]
    return (name or location).strip('"')[:256]
