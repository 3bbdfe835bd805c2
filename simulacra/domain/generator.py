"""Generators: sets of models trained on source tables."""

from collections.abc import Iterator, Sequence
from typing import Self

from pydantic import Field, model_validator

from simulacra.domain.base import (
    Base64,
    Count,
    Enumeration,
    Integer,
    Model,
    Name,
    Share01,
    Timestamp,
    Violation,
    require,
)
from simulacra.domain.common import Metadata, Provenance
from simulacra.domain.job import ProgressStatus
from simulacra.domain.source_table import (
    SourceForeignKeyConfig,
    SourceTable,
    SourceTableConfig,
    duplicates,
    key_columns,
    source_table_config,
)
from simulacra.domain.text import did_you_mean

__all__ = [
    "Generator",
    "GeneratorCloneTrainingStatus",
    "GeneratorConfig",
    "GeneratorImportFromFileConfig",
    "GeneratorListItem",
    "GeneratorUsage",
    "GeneratorView",
    "generator_config",
    "generator_list_item",
]


class GeneratorCloneTrainingStatus(Enumeration):
    """What a cloned generator starts from: the configuration, or also the model weights."""

    NEW = "NEW"
    CONTINUE = "CONTINUE"


class GeneratorView(Enumeration):
    """How much of a generator is returned: all but the values of value ranges, or all of one table."""

    BASIC = "BASIC"
    FULL = "FULL"


class GeneratorUsage(Model):
    """How much a generator is used; compute time is in seconds, a datapoint is a value of a row."""

    total_datapoints: Count | None = None
    total_compute_time: Count | None = None
    no_of_synthetic_datasets: Count | None = None
    no_of_shares: Count | None = None
    no_of_likes: Count | None = None


class Generator(Model):
    """A set of models that can generate synthetic data, trained on one or more source tables."""

    id: str
    name: Name | None = None
    description: str | None = None
    training_status: ProgressStatus
    training_time: Timestamp | None = None
    usage: GeneratorUsage | None = None
    metadata: Metadata
    accuracy: Share01 | None = None
    tables: list[SourceTable] | None = None
    seed: Integer | None = None
    provenance: Provenance | None = None
    revision: Count = 0

    def table(self, name: str) -> SourceTable:
        """Returns the table of this name.

        Raises:
            KeyError: If there is none; the message says which name was probably meant.
        """
        for table in self.tables or ():
            if table.name == name:
                return table
        known = did_you_mean(name, (table.name for table in self.tables or ()))
        raise KeyError(f'table "{name}" is not in generator "{self.name or self.id}"{known}')


class GeneratorConfig(Model):
    """The configuration of a new generator; `seed` determines everything random in its training."""

    name: Name | None = None
    description: str | None = None
    tables: list[SourceTableConfig] | None = None
    seed: Integer | None = None

    @model_validator(mode="after")
    def _tables_fit_together(self) -> Self:
        require(_table_violations(self.tables or []))
        return self


class GeneratorListItem(Model):
    """What a list shows of a generator."""

    id: str
    name: str | None = None
    description: str | None = None
    training_status: ProgressStatus
    training_time: Timestamp | None = None
    usage: GeneratorUsage | None = None
    metadata: Metadata


class GeneratorImportFromFileConfig(Model):
    """A small exported generator as a whole."""

    file: Base64 = Field(repr=False)


def _table_violations(tables: Sequence[SourceTableConfig]) -> Iterator[Violation]:
    by_name = {table.name: table for table in reversed(tables)}
    for index in duplicates([table.name for table in tables]):
        yield (
            f"tables.{index}.name",
            f'table "{tables[index].name}" is in the generator twice; names must be unique',
        )
    for table_index, table in enumerate(tables):
        for key_index, key in enumerate(table.foreign_keys or ()):
            for field, description in _reference_violations(key, by_name):
                yield f"tables.{table_index}.foreign_keys.{key_index}.{field}", description
    yield from _cycle_violations(tables)


def _reference_violations(
    key: SourceForeignKeyConfig, tables: dict[str, SourceTableConfig]
) -> Iterator[Violation]:
    referenced = tables.get(key.referenced_table)
    if referenced is None:
        hint = did_you_mean(key.referenced_table, tables)
        yield "referenced_table", f'table "{key.referenced_table}" is not in the generator{hint}'
        return
    primary_key = key_columns(referenced)
    if not primary_key:
        yield "referenced_table", f'table "{referenced.name}" has no primary key; set its primary_key'
    elif len(primary_key) != len(key.columns or [key.column]):
        yield (
            "columns",
            f'must have the {len(primary_key)} columns of the primary key of table "{referenced.name}"',
        )


def _cycle_violations(tables: Sequence[SourceTableConfig]) -> Iterator[Violation]:
    """Yields one violation for each cycle of context keys, at the key of its first table."""
    contexts = {
        table.name: (f"tables.{table_index}.foreign_keys.{key_index}.is_context", key.referenced_table)
        for table_index, table in enumerate(tables)
        for key_index, key in enumerate(table.foreign_keys or ())
        if key.is_context
    }
    done: set[str] = set()
    for start in contexts:
        path: list[str] = []
        name = start
        while name in contexts and name not in done and name not in path:
            path.append(name)
            name = contexts[name][1]
        if name in path:
            cycle = [*path[path.index(name) :], name]
            yield (
                contexts[name][0],
                f"context keys form a cycle: {' -> '.join(cycle)}; make one of them not a context",
            )
        done.update(path)


def generator_config(generator: Generator) -> GeneratorConfig:
    """Returns what may be written of a generator; creating from it gives a generator with an equal config."""
    return GeneratorConfig(
        name=generator.name,
        description=generator.description,
        tables=[source_table_config(table) for table in generator.tables or ()],
        seed=generator.seed,
    )


def generator_list_item(generator: Generator) -> GeneratorListItem:
    """Returns what a list shows of a generator."""
    return GeneratorListItem(**{name: getattr(generator, name) for name in GeneratorListItem.model_fields})
