"""Between what a client writes of a generator (configs) and what is kept of it (tables, columns, keys)."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence

from simulacra.domain import (
    MODELS,
    BaseResource,
    Connector,
    ForeignKeySchema,
    Generator,
    ModelConfiguration,
    ModelEncodingType,
    ModelType,
    SourceColumn,
    SourceForeignKey,
    SourceForeignKeyConfig,
    SourceTable,
    SourceTableConfig,
    TableSchema,
    generator_config,
    key_columns,
    source_table_config,
    unknown_columns,
)
from simulacra.domain.base import Violation
from simulacra.errors import FieldViolation, InvalidArgument

__all__ = [
    "checked",
    "foreign_keys_of",
    "not_yet_trainable",
    "plan_hash",
    "reconfigured",
    "refuse",
    "source_table",
    "unsuitable_encodings",
]

_MODELS = [model.name for model in MODELS if model.model_type == ModelType.TABULAR]


def checked(generator: Generator, tables: Sequence[SourceTable]) -> Generator:
    """Returns the generator with other tables, checked as if it were created from its config.

    Raises:
        InvalidArgument: The tables do not go together.
    """
    configs = [source_table_config(table) for table in tables]
    generator_config(generator.model_copy(update={"tables": None})).updated({"tables": configs})
    return generator.updated({"tables": list(tables) or None})


def plan_hash(generator: Generator) -> str:
    """Returns the SHA-256 of what a training depends on: tables and seed, as canonical JSON."""
    document = generator_config(generator).model_dump(mode="json", exclude={"name", "description"})
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def source_table(
    config: SourceTableConfig,
    columns: Sequence[str],
    connector: Connector,
    *,
    id: str,
    new_id: Callable[[], str],
) -> SourceTable:
    """Makes the table of a config: all columns of the source, those that are listed (or all) included.

    Raises:
        InvalidArgument: The config names columns that the source lacks, or one there has no name; paths are
            relative to the table.
    """
    refuse(
        (f"columns.{index}.name", f'column {index + 1} of table "{config.name}" has no name; give it one')
        for index, name in enumerate(columns)
        if not name
    )
    source = BaseResource(id=connector.id, name=connector.name, uri=f"connectors/{connector.id}")
    table = SourceTable(
        id=id, source_connector=source, location=config.location, name=config.name, columns=[]
    )
    columns_now = [
        SourceColumn(id=new_id(), name=name, included=True, model_encoding_type=ModelEncodingType.AUTO)
        for name in columns
    ]
    return reconfigured(table.model_copy(update={"columns": columns_now}), config, new_id=new_id)


def reconfigured(table: SourceTable, config: SourceTableConfig, *, new_id: Callable[[], str]) -> SourceTable:
    """Returns a table as its config says, with the source and the columns that it has.

    Raises:
        InvalidArgument: The config names columns that the table lacks; paths are relative to it.
    """
    refuse(unknown_columns(config, [column.name for column in table.columns]))
    listed = {column.name: column.model_encoding_type for column in config.columns or ()}
    columns = [
        column.model_copy(
            update={
                "included": not listed or column.name in listed,
                "model_encoding_type": listed.get(column.name) or ModelEncodingType.AUTO,
            }
        )
        for column in table.columns
    ]
    return table.updated(
        {
            "name": config.name,
            "columns": columns,
            "primary_key": config.primary_key,
            "primary_key_columns": config.primary_key_columns,
            "foreign_keys": [
                SourceForeignKey(id=new_id(), **key.model_dump() | {"is_context": bool(key.is_context)})
                for key in config.foreign_keys or ()
            ],
            "model_configuration": config.model_configuration or ModelConfiguration(),
            "language_model_configuration": config.language_model_configuration,
        }
    )


def foreign_keys_of(
    keys: Iterable[ForeignKeySchema], tables: Sequence[SourceTable]
) -> list[SourceForeignKeyConfig]:
    """Returns the keys found at a source that point at the primary keys of tables of a generator."""
    by_location = {table.location: table for table in tables if table.location}
    found = []
    for key in keys:
        table = by_location.get(key.referenced_location)
        if table is None or not table.primary_key or list(key.referenced_columns) != key_columns(table):
            continue
        columns = list(key.columns)
        found.append(
            SourceForeignKeyConfig(
                column=columns[0],
                columns=columns if len(columns) > 1 else None,
                referenced_table=table.name,
                is_context=False,
            )
        )
    return found


def not_yet_trainable(generator: Generator) -> Iterable[Violation]:
    """Finds what a generator asks for that is stored, but that this version cannot train."""
    for index, table in enumerate(generator.tables or ()):
        path = f"tables.{index}"
        for number, key in enumerate(table.foreign_keys or ()):
            if key.is_context:
                yield (
                    f"{path}.foreign_keys.{number}.is_context",
                    f'table "{table.name}" is to be generated in the context of "{key.referenced_table}", '
                    "which this version cannot do; set is_context to false to train the table on its own",
                )
        for number, column in enumerate(table.columns):
            if column.included and column.model_encoding_type == ModelEncodingType.LANGUAGE_TEXT:
                yield (
                    f"{path}.columns.{number}.model_encoding_type",
                    f'column "{column.name}" is LANGUAGE_TEXT, which this version cannot train; use '
                    "TABULAR_CATEGORICAL, or leave the column out",
                )
        model = table.model_configuration and table.model_configuration.model
        if model and model not in _MODELS:
            yield (
                f"{path}.model_configuration.model",
                f'there is no model "{model}"; leave it out, or choose of {", ".join(_MODELS)}',
            )
        for field in ("model_configuration", "language_model_configuration"):
            configuration: ModelConfiguration | None = getattr(table, field)
            if configuration is not None and configuration.differential_privacy is not None:
                yield (
                    f"{path}.{field}.differential_privacy",
                    "this version cannot train with differential privacy; leave it out",
                )


_UNSUITABLE = {
    ModelEncodingType.TABULAR_NUMERIC_AUTO: ("TABULAR_DATETIME", "TABULAR_CHARACTER", "TABULAR_LAT_LONG"),
    ModelEncodingType.TABULAR_DATETIME: ("TABULAR_CHARACTER", "TABULAR_LAT_LONG"),
}
"""Encodings, by their beginning, that do not suit what the source says to be numbers, or dates."""


def unsuitable_encodings(config: SourceTableConfig, schema: TableSchema) -> Iterable[Violation]:
    """Finds encodings that do not suit the types that the source says; paths are relative to the table."""
    known = {column.name: column for column in schema.columns}
    for number, column in enumerate(config.columns or ()):
        encoding, source = column.model_encoding_type, known.get(column.name)
        if encoding is None or source is None:
            continue
        if encoding.value.startswith(_UNSUITABLE.get(source.default_model_encoding_type, ("-",))):
            yield (
                f"columns.{number}.model_encoding_type",
                f'{encoding.value} does not suit column "{column.name}", which is '
                f"{source.original_data_type}; use AUTO, {source.default_model_encoding_type.value} "
                "or TABULAR_CATEGORICAL",
            )


def refuse(violations: Iterable[Violation], *, prefix: str = "") -> None:
    """Raises InvalidArgument for what is wrong, if anything is; paths are put below `prefix`."""
    found = [FieldViolation(".".join(filter(None, [prefix, path])), text) for path, text in violations]
    if found:
        message = "; ".join(f"{item.field}: {item.description}" for item in found)
        raise InvalidArgument(message, violations=found)
