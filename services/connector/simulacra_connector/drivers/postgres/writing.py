"""Writes a table into PostgreSQL in one transaction: by COPY into a staging table that takes its place.

Until the swap nobody is locked out; the swap keeps the columns' types, keys, indexes, grants and comments of
the table that is replaced, and checks foreign keys from and to it against the new rows.
"""

import io
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from simulacra.errors import AlreadyExists, InvalidArgument, UnsupportedData
from simulacra_connector.drivers.base import TableStream, WriteMode, location_not_found
from simulacra_connector.drivers.locations import format_location, table_location
from simulacra_connector.drivers.postgres.catalog import quote

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
_CSV = pacsv.WriteOptions(include_header=False, quoting_style="all_valid")
_CSV_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class _Old:
    """What is kept of the table that is replaced: its columns, and the statements that make the rest."""

    oid: int
    columns: tuple[str, ...]
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


class TableWriter:
    """Writes through one connection, which must not be in autocommit mode; the caller commits."""

    def __init__(self, connection: "psycopg.Connection[tuple[Any, ...]]") -> None:
        self._connection = connection

    def write(self, location: str, stream: TableStream, mode: WriteMode) -> int:
        """Writes the rows and returns their number.

        Raises:
            AlreadyExists: If the table is there and may not be replaced.
            UnsupportedData: If a column's type cannot be written.
        """
        schema, table = table_location(location)
        if not self._fetch("SELECT 1 FROM pg_namespace WHERE nspname = %s", schema):
            raise location_not_found(location, f'there is no schema "{schema}"')
        target = f"{quote(schema)}.{quote(table)}"
        old = self._old(schema, table, target)
        if old is not None and mode is WriteMode.FAIL:
            raise AlreadyExists(
                f"table {location} is there already; allow to overwrite it, or choose another"
            )
        staging_name = f"simulacra_{uuid.uuid4().hex[:16]}"
        staging = f"{quote(schema)}.{quote(staging_name)}"
        self._create(staging, stream.schema, target if old else None, old)
        rows = self._copy(staging, stream)
        for statement in old.before if old else ():
            self._execute(statement)
        self._execute(f"ALTER TABLE {staging} RENAME TO {quote(table)}")
        for statement in old.after if old else ():
            self._execute(statement)
        return rows

    def _create(self, staging: str, schema: pa.Schema, target: str | None, old: _Old | None) -> None:
        if old is not None:
            unknown = [name for name in schema.names if name not in old.columns]
            if unknown:
                raise InvalidArgument.of(
                    "data", f'column "{unknown[0]}" is not in the table to overwrite; drop the table first'
                )
            self._execute(
                f"CREATE TABLE {staging} (LIKE {target} INCLUDING DEFAULTS INCLUDING GENERATED "
                "INCLUDING IDENTITY INCLUDING STORAGE INCLUDING COMMENTS)"
            )
            return
        columns = ", ".join(f"{quote(column.name)} {_sql_type(column)}" for column in schema)
        self._execute(f"CREATE TABLE {staging} ({columns})")

    def _copy(self, staging: str, stream: TableStream) -> int:
        names = ", ".join(quote(name) for name in stream.schema.names)
        rows = 0
        with (
            self._connection.cursor() as cursor,
            cursor.copy(f"COPY {staging} ({names}) FROM STDIN (FORMAT csv)".encode()) as copy,
        ):
            for batch in stream.batches:
                for start in range(0, batch.num_rows, _CSV_ROWS):
                    copy.write(_csv(batch.slice(start, _CSV_ROWS)))
                rows += batch.num_rows
        return rows

    def _old(self, schema: str, table: str, target: str) -> _Old | None:
        found = self._fetch(
            "SELECT c.oid, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = %s AND c.relname = %s",
            schema,
            table,
        )
        if not found:
            return None
        [(oid, kind)] = found
        if kind != "r":
            raise AlreadyExists(
                f"{format_location(schema, table)} is no plain table; choose another location"
            )
        columns = self._fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped", oid
        )
        old = _Old(oid, tuple(name for (name,) in columns))
        self._keep_foreign_keys_of_others(old)
        old.before.append(f"DROP TABLE {target}")
        self._keep_indexes_and_constraints(old, target)
        self._keep_owner_and_grants(old, target)
        return old

    def _keep_foreign_keys_of_others(self, old: _Old) -> None:
        keys = self._fetch(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE contype = 'f' AND confrelid = %s AND conrelid <> confrelid AND conparentid = 0",
            old.oid,
        )
        for table, name, definition in keys:
            old.before.append(f"ALTER TABLE {table} DROP CONSTRAINT {quote(name)}")
            old.after.append(f"ALTER TABLE {table} ADD CONSTRAINT {quote(name)} {definition}")

    def _keep_indexes_and_constraints(self, old: _Old, target: str) -> None:
        constraints = self._fetch(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE conrelid = %s AND contype IN ('p', 'u', 'c', 'x', 'f') "
            "ORDER BY array_position(ARRAY['p', 'u', 'c', 'x', 'f'], contype::text), conname",
            old.oid,
        )
        indexes = self._fetch(
            "SELECT pg_get_indexdef(indexrelid) FROM pg_index i WHERE indrelid = %s AND NOT EXISTS "
            "(SELECT 1 FROM pg_constraint WHERE conindid = i.indexrelid)",
            old.oid,
        )
        own = [f"ALTER TABLE {target} ADD CONSTRAINT {quote(name)} {sql}" for name, sql in constraints]
        # The table's own keys must be there before those of others refer to them again.
        old.after[:0] = [*own, *(sql for (sql,) in indexes)]

    def _keep_owner_and_grants(self, old: _Old, target: str) -> None:
        grants = self._fetch(
            "SELECT a.privilege_type, coalesce(quote_ident(r.rolname), 'PUBLIC'), a.is_grantable "
            "FROM pg_class c, aclexplode(c.relacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee "
            "WHERE c.oid = %s AND a.grantee <> c.relowner",
            old.oid,
        )
        for privilege, grantee, grantable in grants:
            option = " WITH GRANT OPTION" if grantable else ""
            old.after.append(f"GRANT {privilege} ON {target} TO {grantee}{option}")
        [(comment, owner)] = self._fetch(
            "SELECT obj_description(oid, 'pg_class'), quote_ident(pg_get_userbyid(relowner)) "
            "FROM pg_class WHERE oid = %s",
            old.oid,
        )
        if comment is not None:
            literal = comment.replace("'", "''")
            old.after.append(f"COMMENT ON TABLE {target} IS '{literal}'")
        old.after.append(f"ALTER TABLE {target} OWNER TO {owner}")

    def _execute(self, sql: str) -> None:
        self._connection.execute(sql.encode())

    def _fetch(self, sql: str, *parameters: object) -> Sequence[tuple[Any, ...]]:
        return self._connection.execute(sql.encode(), parameters).fetchall()


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
