"""Writes a table into MySQL or MariaDB: into a staging table first, then in its place at once.

A new table is staged under another name and renamed. The rows of a table that is there are replaced in one
transaction, so that its keys, indexes, triggers and grants stay; foreign keys are checked at the end, because
deleting with checks would take rows of other tables along.
"""

import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pymysql

from simulacra.errors import AlreadyExists, InvalidArgument, UnsupportedData
from simulacra_connector.drivers.base import TableStream, WriteMode, location_not_found
from simulacra_connector.drivers.locations import format_location, table_location
from simulacra_connector.drivers.mysql.columns import quote

__all__ = ["TableWriter"]

_FIXED: dict[pa.DataType, str] = {
    pa.bool_(): "boolean",
    pa.int8(): "tinyint",
    pa.uint8(): "tinyint unsigned",
    pa.int16(): "smallint",
    pa.uint16(): "smallint unsigned",
    pa.int32(): "int",
    pa.uint32(): "int unsigned",
    pa.int64(): "bigint",
    pa.uint64(): "bigint unsigned",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.string(): "longtext",
    pa.large_string(): "longtext",
    pa.null(): "longtext",
    pa.binary(): "longblob",
    pa.large_binary(): "longblob",
    pa.date32(): "date",
}
_INSERT_ROWS = 1000
_MAX_DECIMAL = 65

_REFERENCES = (
    "SELECT constraint_name, table_schema, table_name, column_name, referenced_table_schema, "
    "referenced_table_name, referenced_column_name FROM information_schema.key_column_usage "
    "WHERE referenced_table_name IS NOT NULL AND ((table_schema = %s AND table_name = %s) "
    "OR (referenced_table_schema = %s AND referenced_table_name = %s)) ORDER BY 2, 3, 1, ordinal_position"
)


class TableWriter:
    """Writes through one connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def write(self, location: str, stream: TableStream, mode: WriteMode) -> int:
        """Writes the rows and returns their number.

        Raises:
            AlreadyExists: If the table is there and may not be replaced.
            UnsupportedData: If a column's type cannot be written.
        """
        database, table = table_location(location)
        if not self._fetch("SELECT 1 FROM information_schema.schemata WHERE schema_name = %s", database):
            raise location_not_found(location, f'there is no database "{database}"')
        found = self._fetch(
            "SELECT table_type FROM information_schema.tables WHERE table_schema = %s AND table_name = %s",
            database,
            table,
        )
        if not found:
            return self._create(database, table, stream)
        if mode is WriteMode.FAIL:
            raise AlreadyExists(
                f"table {location} is there already; allow to overwrite it, or choose another"
            )
        if found[0][0] != "BASE TABLE":
            raise AlreadyExists(
                f"{format_location(database, table)} is no plain table; choose another location"
            )
        return self._replace(database, table, stream)

    def _create(self, database: str, table: str, stream: TableStream) -> int:
        staging = f"{quote(database)}.{quote(f'simulacra_{uuid.uuid4().hex[:16]}')}"
        columns = ", ".join(f"{quote(column.name)} {_sql_type(column)}" for column in stream.schema)
        try:
            self._execute(f"CREATE TABLE {staging} ({columns}) CHARACTER SET utf8mb4 ENGINE = InnoDB")
            rows = self._insert(staging, stream)
            self._connection.commit()
            self._execute(f"RENAME TABLE {staging} TO {quote(database)}.{quote(table)}")
        except BaseException:
            with suppress(pymysql.err.Error):
                self._execute(f"DROP TABLE IF EXISTS {staging}")
            raise
        return rows

    def _replace(self, database: str, table: str, stream: TableStream) -> int:
        target = f"{quote(database)}.{quote(table)}"
        known = {
            name
            for (name,) in self._fetch(
                "SELECT column_name FROM information_schema.columns "
                "WHERE table_schema = %s AND table_name = %s",
                database,
                table,
            )
        }
        if unknown := [name for name in stream.schema.names if name not in known]:
            raise InvalidArgument.of(
                "data", f'column "{unknown[0]}" is not in the table to overwrite; drop the table first'
            )
        names = ", ".join(quote(name) for name in stream.schema.names)
        staging = f"{quote(database)}.{quote(f'simulacra_{uuid.uuid4().hex[:16]}')}"
        # A temporary table vanishes with the connection, whatever happens.
        self._execute(f"CREATE TEMPORARY TABLE {staging} LIKE {target}")
        rows = self._insert(staging, stream)
        self._connection.commit()
        self._execute("SET SESSION foreign_key_checks = 0")
        self._execute(f"DELETE FROM {target}")
        self._execute(f"INSERT INTO {target} ({names}) SELECT {names} FROM {staging}")
        self._check_references(database, table)
        self._connection.commit()
        return rows

    def _check_references(self, database: str, table: str) -> None:
        """Finds rows whose foreign keys refer to nothing, in this table and in those that refer to it."""
        keys: dict[tuple[str, str, str], list[tuple[Any, ...]]] = {}
        for name, *rest in self._fetch(_REFERENCES, database, table, database, table):
            keys.setdefault((rest[0], rest[1], name), []).append(tuple(rest))
        for (schema, child, name), columns in keys.items():
            parent = f"{quote(columns[0][3])}.{quote(columns[0][4])}"
            given = " AND ".join(f"c.{quote(column[2])} IS NOT NULL" for column in columns)
            match = " AND ".join(f"p.{quote(column[5])} = c.{quote(column[2])}" for column in columns)
            orphans = self._fetch(
                f"SELECT 1 FROM {quote(schema)}.{quote(child)} c WHERE {given} "
                f"AND NOT EXISTS (SELECT 1 FROM {parent} p WHERE {match}) LIMIT 1"
            )
            if orphans:
                self._connection.rollback()
                raise InvalidArgument(
                    f'the rows break foreign key "{name}" of table {format_location(schema, child)}'
                )

    def _insert(self, staging: str, stream: TableStream) -> int:
        names = ", ".join(quote(name) for name in stream.schema.names)
        marks = ", ".join(["%s"] * len(stream.schema))
        sql = f"INSERT INTO {staging} ({names.replace('%', '%%')}) VALUES ({marks})"
        rows = 0
        with self._connection.cursor() as cursor:
            for batch in stream.batches:
                columns = [
                    _values(name, array)
                    for name, array in zip(batch.schema.names, batch.columns, strict=True)
                ]
                records = list(zip(*columns, strict=True))
                for start in range(0, len(records), _INSERT_ROWS):
                    cursor.executemany(sql, records[start : start + _INSERT_ROWS])
                rows += len(records)
        return rows

    def _execute(self, sql: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)

    def _fetch(self, sql: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            rows: Sequence[tuple[Any, ...]] = cursor.fetchall()
        return rows


def _sql_type(column: "pa.Field[Any]") -> str:
    type: Any = column.type
    if pa.types.is_dictionary(type):
        type = type.value_type
    if type in _FIXED:
        return _FIXED[type]
    if pa.types.is_decimal(type) and type.precision <= _MAX_DECIMAL:
        return f"decimal({type.precision}, {type.scale})"
    if pa.types.is_timestamp(type):
        return "timestamp(6) NULL" if type.tz else "datetime(6)"
    if pa.types.is_time(type):
        return "time(6)"
    raise UnsupportedData(
        f'column "{column.name}" has type {type}, which cannot be written to MySQL; convert it first',
        column=column.name,
    )


def _values(name: str, array: Any) -> Sequence[Any]:
    """Returns a column's values for the driver, which escapes them."""
    type = array.type
    if pa.types.is_dictionary(type):
        array, type = array.dictionary_decode(), type.value_type
    if pa.types.is_timestamp(type):
        try:
            array = array.cast(pa.timestamp("us"))  # of an instant, the text in UTC
        except pa.ArrowInvalid:
            raise UnsupportedData(
                f'column "{name}" holds nanoseconds, MySQL keeps microseconds; round it first', column=name
            ) from None
    values: Sequence[Any] = array.to_pylist()
    if pa.types.is_floating(type) and any(v is not None and v - v != 0 for v in values):
        raise UnsupportedData(f'column "{name}" holds NaN or an infinity, which MySQL cannot', column=name)
    return values
