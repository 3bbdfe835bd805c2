"""The tables of a generator: what was read from a source, and how it is to be learnt."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Self

from pydantic import Field, model_validator

from simulacra.domain.base import Base64, Count, Identifier, Model, Name, Violation, require
from simulacra.domain.common import BaseResource
from simulacra.domain.metrics import ModelMetrics
from simulacra.domain.model import ModelConfiguration, ModelEncodingType
from simulacra.domain.text import did_you_mean

__all__ = [
    "SourceColumn",
    "SourceColumnConfig",
    "SourceColumnValueRange",
    "SourceForeignKey",
    "SourceForeignKeyConfig",
    "SourceTable",
    "SourceTableAddConfig",
    "SourceTableConfig",
    "duplicates",
    "key_columns",
    "source_table_config",
    "unknown_columns",
]


class SourceColumnValueRange(Model):
    """The privacy-safe range of a column's values: the values themselves, or the smallest and the largest."""

    min: str | None = None
    max: str | None = None
    values: list[str] | None = Field(default=None, max_length=1000)
    has_null: bool | None = None


class SourceColumn(Model):
    """A column of a source table."""

    id: str
    name: str
    included: bool
    model_encoding_type: ModelEncodingType
    value_range: SourceColumnValueRange | None = None


class SourceColumnConfig(Model):
    """The configuration of a column of a new generator's table."""

    name: Identifier
    model_encoding_type: ModelEncodingType | None = ModelEncodingType.AUTO


class SourceForeignKey(Model):
    """A foreign key of a source table; `columns` lists a composite key, the first equal to `column`."""

    id: str
    column: str | None = None
    referenced_table: str
    is_context: bool
    columns: list[str] | None = None


class SourceForeignKeyConfig(Model):
    """The configuration of a foreign key; `columns` lists a composite key, the first equal to `column`."""

    column: Identifier
    referenced_table: Identifier
    is_context: bool | None = None
    columns: list[str] | None = None

    @model_validator(mode="after")
    def _composite_key_starts_with_column(self) -> Self:
        require(_composite_violations("column", self.column, self.columns, "columns"))
        return self


class SourceTable(Model):
    """A table of a generator, with all columns of its source."""

    id: str
    source_connector: BaseResource | None = None
    location: str | None = None
    name: Name
    primary_key: str | None = None
    columns: list[SourceColumn]
    foreign_keys: list[SourceForeignKey] | None = None
    model_metrics: ModelMetrics | None = None
    language_model_metrics: ModelMetrics | None = None
    model_configuration: ModelConfiguration | None = None
    language_model_configuration: ModelConfiguration | None = None
    total_rows: Count | None = None
    primary_key_columns: list[str] | None = None

    def column(self, name: str) -> SourceColumn:
        """Returns the column of this name.

        Raises:
            KeyError: If there is none; the message says which name was probably meant.
        """
        for column in self.columns:
            if column.name == name:
                return column
        known = did_you_mean(name, (column.name for column in self.columns))
        raise KeyError(f'column "{name}" is not in table "{self.name}"{known}')

    @property
    def is_subject_table(self) -> bool:
        """True if the table's rows do not hang on a context table."""
        return not any(key.is_context for key in self.foreign_keys or ())


class SourceTableConfig(Model):
    """The configuration of a table of a new generator.

    The data come from a connector and location, or from a Parquet file in `data`. The columns that are listed
    are included in training, the others kept but not included; none listed includes all.
    """

    name: Name
    source_connector_id: Identifier | None = None
    location: str | None = None
    data: Base64 | None = Field(default=None, repr=False)
    model_configuration: ModelConfiguration | None = None
    language_model_configuration: ModelConfiguration | None = None
    primary_key: Identifier | None = None
    foreign_keys: list[SourceForeignKeyConfig] | None = None
    columns: list[SourceColumnConfig] | None = None
    primary_key_columns: list[str] | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        require(self._violations())
        return self

    def _violations(self) -> Iterator[Violation]:
        if self.data is not None and self.source_connector_id is not None:
            yield "data", f'table "{self.name}" has both data and source_connector_id; give one of them'
        if self.location is not None and self.source_connector_id is None:
            yield "source_connector_id", f'is required with location "{self.location}" of table "{self.name}"'
        names = [column.name for column in self.columns or ()]
        for index in duplicates(names):
            yield f"columns.{index}.name", f'column "{names[index]}" is in table "{self.name}" twice'
        contexts = [index for index, key in enumerate(self.foreign_keys or ()) if key.is_context]
        for index in contexts[1:]:
            yield (
                f"foreign_keys.{index}.is_context",
                f'table "{self.name}" has a context already; make only one of its foreign keys a context',
            )
        yield from _composite_violations(
            "primary_key", self.primary_key, self.primary_key_columns, "primary_key_columns"
        )


class SourceTableAddConfig(Model):
    """The configuration of a table to add to a generator; its columns and keys are found at the source."""

    source_connector_id: Identifier
    location: Identifier
    name: Name | None = None
    include_children: bool | None = None
    model_configuration: ModelConfiguration | None = None
    language_model_configuration: ModelConfiguration | None = None


def duplicates(names: Sequence[str]) -> list[int]:
    """Returns the positions at which a name comes that has come before."""
    seen: set[str] = set()
    return [index for index, name in enumerate(names) if name in seen or seen.add(name)]  # type: ignore[func-returns-value]


def _composite_violations(
    field: str, column: str | None, columns: Sequence[str] | None, path: str
) -> Iterator[Violation]:
    if not columns:
        return
    if columns[0] != column:
        yield path, f'starts with "{columns[0]}", but {field} is "{column or ""}"; they must be equal'
    for name, count in Counter(columns).items():
        if count > 1:
            yield path, f'has column "{name}" {count} times'


def key_columns(
    table: SourceTable | SourceTableConfig,
) -> list[str]:
    """Returns the columns of a table's primary key; empty if it has none."""
    return list(table.primary_key_columns or filter(None, [table.primary_key]))


def unknown_columns(config: SourceTableConfig, source_columns: Iterable[str]) -> list[Violation]:
    """Returns the columns that a configuration names and its source lacks, with paths below the table."""
    known = list(source_columns)
    named = [(f"columns.{index}.name", column.name) for index, column in enumerate(config.columns or ())]
    key_path = "primary_key_columns" if config.primary_key_columns else "primary_key"
    named += [(key_path, name) for name in key_columns(config)]
    for index, key in enumerate(config.foreign_keys or ()):
        path = f"foreign_keys.{index}"
        named += [
            (f"{path}.columns" if key.columns else f"{path}.column", name)
            for name in key.columns or [key.column]
        ]
    present = set(known)
    return [
        (path, f'column "{name}" is not in table "{config.name}"{did_you_mean(name, known)}')
        for path, name in named
        if name not in present
    ]


def source_table_config(table: SourceTable) -> SourceTableConfig:
    """Returns what may be written of a source table: its included columns, keys and model configurations."""
    keys = [
        SourceForeignKeyConfig(
            column=key.column or (key.columns or [""])[0],
            referenced_table=key.referenced_table,
            is_context=key.is_context,
            columns=key.columns,
        )
        for key in table.foreign_keys or ()
    ]
    columns = [
        SourceColumnConfig(name=column.name, model_encoding_type=column.model_encoding_type)
        for column in table.columns
        if column.included
    ]
    connector_id = table.source_connector.id if table.source_connector else None
    return SourceTableConfig(
        name=table.name,
        source_connector_id=connector_id,
        location=table.location if connector_id else None,
        model_configuration=table.model_configuration,
        language_model_configuration=table.language_model_configuration,
        primary_key=table.primary_key,
        foreign_keys=keys,
        columns=columns,
        primary_key_columns=table.primary_key_columns,
    )
