"""Writes tables into PostgreSQL in one transaction: by COPY into staging tables that take their places.

Until the swap nobody is locked out; the swap keeps the columns' types, keys, indexes, grants and comments of
the table that is replaced, and checks foreign keys from and to it against the new rows.
"""

import io
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from simulacra.errors import InvalidArgument, UnsupportedData
from simulacra_connector.drivers.base import TableStream, WriteMode, location_not_found
from simulacra_connector.drivers.delivery import DeliveredTable, TableToDeliver, already_there
from simulacra_connector.drivers.locations import format_location, table_location
from simulacra_connector.drivers.postgres.catalog import quote
from simulacra_connector.drivers.postgres.permissions import require_permissions
from simulacra_connector.drivers.postgres.replacing import Replaced, replaced_tables

__all__ = ["TableWriter"]

_FIXED: dict[pa.DataType, str] = {
    pa.bool_(): "boolean",
    pa.int8(): "smallint",
    pa.uint8(): "smallint",
    pa.int16(): "smallint",
    pa.uint16(): "integer",
    pa.int32(): "integer",
    pa.uint32(): "bigint",
    pa.int64(): "bigint",
    pa.uint64(): "numeric(20)",
    pa.float32(): "real",
    pa.float64(): "double precision",
    pa.string(): "text",
    pa.large_string(): "text",
    pa.null(): "text",
    pa.binary(): "bytea",
    pa.large_binary(): "bytea",
    pa.date32(): "date",
}
_RELATION = (
    "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = %s AND c.relname = %s"
)
_CSV = pacsv.WriteOptions(include_header=False, quoting_style="all_valid")
_CSV_ROWS = 16_384
_LONGEST_NAME = 63


class TableWriter:
    """Writes through one connection, which must not be in autocommit mode; the caller commits."""

    def __init__(self, connection: "psycopg.Connection[tuple[Any, ...]]") -> None:
        self._connection = connection

    def write(self, location: str, stream: TableStream, mode: WriteMode) -> int:
        """Writes one table and returns the number of its rows.

        Raises:
            AlreadyExists: If the table is there and may not be replaced.
            UnsupportedData: If a column's type cannot be written.
        """
        schema, table = table_location(location)
        rows = 0
        for step in self.write_all(schema, [TableToDeliver(table, stream)], mode):
            rows = step.rows
        return rows

    def write_all(
        self, schema: str, tables: Sequence[TableToDeliver], mode: WriteMode
    ) -> Iterator[DeliveredTable]:
        """Writes tables and puts them in place together; yields how many rows of each have been copied.

        Raises:
            AlreadyExists: If a table is there and may not be replaced.
            LocationNotFound: If the schema is not there.
            UnsupportedData: If a column's type cannot be written, or a name is longer than PostgreSQL keeps.
        """
        for table in tables:
            _require_short_names([table.name, *table.stream.schema.names])
        there = self._there(schema, [table.name for table in tables], mode)
        staged: dict[str, str] = {}
        for table in tables:
            old = there.get(table.name)
            into = old.target if old else ""
            if old is not None:
                _require_columns(table, old)
            if old is None or mode is WriteMode.OVERWRITE:
                into = staged[table.name] = f"{quote(schema)}.{quote(f'simulacra_{uuid.uuid4().hex[:16]}')}"
                self._create(into, table, old, self._key_types(schema, table, tables, there))
            for rows in self._copy(into, table.stream, old.generated if old else frozenset()):
                yield DeliveredTable(table.name, format_location(schema, table.name), rows)
        self._swap(schema, tables, staged, there if mode is WriteMode.OVERWRITE else {})

    def try_all(self, schema: str, names: Sequence[str], mode: WriteMode) -> None:
        """Finds out whether tables of these names could be written, without writing.

        Raises:
            AlreadyExists: If a table is there and may not be replaced.
            LocationNotFound: If the schema is not there.
            PermissionDenied: If the user may not do it.
            UnsupportedData: If a name is longer than PostgreSQL keeps.
        """
        _require_short_names(names)
        there = self._there(schema, names, mode)
        require_permissions(self._fetch, schema, names, there, mode)

    def _there(self, schema: str, names: Sequence[str], mode: WriteMode) -> dict[str, Replaced]:
        """Returns what is in the way of tables; refuses what cannot be replaced."""
        if not self._fetch("SELECT 1 FROM pg_namespace WHERE nspname = %s", schema):
            raise location_not_found(schema, f'there is no schema "{schema}"')
        if mode is WriteMode.FAIL:
            for name in names:
                if self._fetch(_RELATION, schema, name):
                    raise already_there(format_location(schema, name))
            return {}
        return replaced_tables(self._fetch, schema, names, appending=mode is WriteMode.APPEND)

    def _swap(
        self,
        schema: str,
        tables: Sequence[TableToDeliver],
        staged: Mapping[str, str],
        replaced: Mapping[str, Replaced],
    ) -> None:
        new = [table for table in tables if table.name in staged and table.name not in replaced]
        statements = [sql for old in replaced.values() for sql in old.let_go]
        if replaced:
            # At once, for they may refer to each other.
            statements.append(f"DROP TABLE {', '.join(old.target for old in replaced.values())}")
        statements += [f"ALTER TABLE {place} RENAME TO {quote(name)}" for name, place in staged.items()]
        # Keys first, for foreign keys refer to them.
        statements += [sql for old in replaced.values() for sql in old.constraints]
        statements += [
            f"ALTER TABLE {quote(schema)}.{quote(table.name)} ADD PRIMARY KEY ({_names(table.primary_key)})"
            for table in new
            if table.primary_key
        ]
        statements += [sql for old in replaced.values() for sql in old.foreign_keys]
        statements += [
            f"ALTER TABLE {quote(schema)}.{quote(table.name)} ADD FOREIGN KEY ({_names(key.columns)}) "
            f"REFERENCES {quote(schema)}.{quote(key.referenced_table)} ({_names(key.referenced_columns)})"
            for table in new
            for key in table.foreign_keys
        ]
        statements += [sql for old in replaced.values() for sql in old.rest]
        for statement in statements:
            self._execute(statement)

    def _create(
        self, staging: str, table: TableToDeliver, old: Replaced | None, types: Mapping[str, str]
    ) -> None:
        if old is not None:
            where = f" TABLESPACE {quote(old.tablespace)}" if old.tablespace else ""
            self._execute(
                f"CREATE {'UNLOGGED ' if old.unlogged else ''}TABLE {staging} (LIKE {old.target} "
                "INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING IDENTITY INCLUDING STORAGE "
                f"INCLUDING COMMENTS){where}"
            )
            return
        columns = ", ".join(
            f"{quote(column.name)} {types.get(column.name) or _sql_type(column)}"
            for column in table.stream.schema
        )
        self._execute(f"CREATE TABLE {staging} ({columns})")

    def _key_types(
        self,
        schema: str,
        table: TableToDeliver,
        tables: Sequence[TableToDeliver],
        there: Mapping[str, Replaced],
    ) -> dict[str, str]:
        """Returns the types of foreign keys' columns: those of what they refer to."""
        fields = {each.name: each.stream.schema for each in tables}
        types: dict[str, str] = {}
        for key in table.foreign_keys:
            for column, referenced in zip(key.columns, key.referenced_columns, strict=True):
                if old := there.get(key.referenced_table):
                    [(types[column],)] = self._fetch(
                        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute "
                        "WHERE attrelid = %s AND attname = %s",
                        old.oid,
                        referenced,
                    ) or [(_sql_type(table.stream.schema.field(column)),)]
                elif key.referenced_table in fields:
                    types[column] = _sql_type(fields[key.referenced_table].field(referenced))
        return types

    def _copy(self, staging: str, stream: TableStream, computed: frozenset[str]) -> Iterator[int]:
        """Copies rows but for the columns that PostgreSQL computes itself."""
        rows = 0
        names = [name for name in stream.schema.names if name not in computed]
        if not names:
            raise InvalidArgument.of("data", "has no column but those that PostgreSQL computes itself")
        with (
            self._connection.cursor() as cursor,
            cursor.copy(f"COPY {staging} ({_names(names)}) FROM STDIN (FORMAT csv)".encode()) as copy,
        ):
            for batch in (batch.select(names) for batch in stream.batches):
                for start in range(0, batch.num_rows, _CSV_ROWS):
                    copy.write(_csv(batch.slice(start, _CSV_ROWS)))
                rows += batch.num_rows
                yield rows
        yield rows

    def _execute(self, sql: str) -> None:
        self._connection.execute(sql.encode())

    def _fetch(self, sql: str, *parameters: object) -> Sequence[tuple[Any, ...]]:
        return self._connection.execute(sql.encode(), parameters).fetchall()


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(quote, names))


def _require_short_names(names: Sequence[str]) -> None:
    for name in names:
        if (size := len(name.encode())) > _LONGEST_NAME:
            raise UnsupportedData(
                f'the name "{name}" has {size} bytes; PostgreSQL cuts after {_LONGEST_NAME}, so rename it',
                column=name,
            )


def _require_columns(table: TableToDeliver, old: Replaced) -> None:
    unknown = [name for name in table.stream.schema.names if name not in old.columns]
    if unknown:
        raise InvalidArgument.of(
            "data",
            f'column "{unknown[0]}" is not in the table {old.target} that is there; drop that table first',
        )


def _sql_type(column: "pa.Field[Any]") -> str:
    type: Any = column.type
    if type in _FIXED:
        return _FIXED[type]
    if pa.types.is_decimal(type):
        return f"numeric({type.precision}, {type.scale})"
    if pa.types.is_timestamp(type):
        return "timestamptz" if type.tz else "timestamp"
    if pa.types.is_time(type):
        return "time"
    if pa.types.is_list(type):
        return f"{_sql_type(type.value_field)}[]"
    if pa.types.is_dictionary(type):
        return _sql_type(pa.field(column.name, type.value_type))
    raise UnsupportedData(
        f'column "{column.name}" has type {type}, which cannot be written to PostgreSQL; convert it first',
        column=column.name,
    )


def _csv(batch: pa.RecordBatch) -> bytes:
    """Writes rows as CSV with values quoted and nulls not; PostgreSQL parses each into its column's type."""
    arrays = [_printable(name, array) for name, array in zip(batch.schema.names, batch.columns, strict=True)]
    buffer = io.BytesIO()
    pacsv.write_csv(pa.RecordBatch.from_arrays(arrays, names=batch.schema.names), buffer, _CSV)
    return buffer.getvalue()


def _printable(name: str, array: Any) -> Any:
    type = array.type
    if pa.types.is_dictionary(type):
        array, type = array.dictionary_decode(), type.value_type
    if pa.types.is_binary(type) or pa.types.is_large_binary(type):
        values = [value.as_py() for value in array]
        return pa.array([None if value is None else f"\\x{value.hex()}" for value in values], pa.string())
    if pa.types.is_list(type):
        return pa.array([_array_literal(value.as_py()) for value in array], pa.string())
    if pa.types.is_timestamp(type) and type.unit == "ns":
        try:
            return array.cast(pa.timestamp("us", type.tz))
        except pa.ArrowInvalid:
            raise UnsupportedData(
                f'column "{name}" holds nanoseconds, PostgreSQL keeps microseconds; round it first',
                column=name,
            ) from None
    if pa.types.is_string(type) and pc.any(pc.match_substring(array, "\0")).as_py():
        raise UnsupportedData(f'column "{name}" holds zero bytes, which PostgreSQL text cannot', column=name)
    return array


def _array_literal(values: list[Any] | None) -> str | None:
    if values is None:
        return None
    parts = []
    for value in values:
        text = f"\\x{value.hex()}" if isinstance(value, bytes) else str(value)
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        parts.append("NULL" if value is None else f'"{escaped}"')
    return "{" + ",".join(parts) + "}"
