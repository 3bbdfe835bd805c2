"""Writes tables into MySQL or MariaDB: into staging tables first, then in their places at once.

New tables are staged under other names and renamed in one statement. The rows of tables that are there are
replaced in one transaction, so that their keys, indexes, triggers and grants stay. These are two moments: a
marker table, filled in that transaction and renamed in that statement, tells a later attempt between which of
them an earlier one has died, and it goes on from there.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pymysql

from simulacra.errors import InvalidArgument, UnsupportedData
from simulacra_connector.drivers.base import TableStream, WriteMode
from simulacra_connector.drivers.delivery import DeliveredTable, TableToDeliver
from simulacra_connector.drivers.locations import format_location, table_location
from simulacra_connector.drivers.mysql.columns import quote
from simulacra_connector.drivers.mysql.targets import Existing, existing_tables, try_tables

__all__ = ["TableWriter", "Target"]

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

_COLUMN_TYPE = (
    "SELECT column_type, character_set_name, collation_name FROM information_schema.columns "
    "WHERE table_schema = %s AND table_name = %s AND column_name = %s"
)
_LIKE = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND table_name LIKE %s"
_REFERENCES = (
    "SELECT constraint_name, table_schema, table_name, column_name, referenced_table_schema, "
    "referenced_table_name, referenced_column_name FROM information_schema.key_column_usage "
    "WHERE referenced_table_name IS NOT NULL AND ((table_schema = %s AND table_name = %s) "
    "OR (referenced_table_schema = %s AND referenced_table_name = %s)) ORDER BY 2, 3, 1, ordinal_position"
)


@dataclass(frozen=True, slots=True)
class Target:
    """The tables of one write, and the names of what it makes: the same at each attempt, by its tag."""

    database: str
    tag: str
    tables: tuple[TableToDeliver, ...]

    @property
    def prefix(self) -> str:
        """What all names begin with; also the name of the marker."""
        return f"simulacra_{self.tag}"

    @property
    def marker(self) -> str:
        """The table whose one row says that the rows of tables that were there are replaced."""
        return f"{quote(self.database)}.{quote(self.prefix)}"

    def location(self, name: str) -> str:
        """Returns a table's location."""
        return format_location(self.database, name)

    def place(self, name: str) -> str:
        """Returns a table as SQL."""
        return f"{quote(self.database)}.{quote(name)}"

    def staging_name(self, name: str) -> str:
        """Returns the name under which a table is staged."""
        return f"{self.prefix}_{[table.name for table in self.tables].index(name)}"

    def staging(self, name: str) -> str:
        """Returns the staged table as SQL."""
        return f"{quote(self.database)}.{quote(self.staging_name(name))}"

    def final_name(self, name: str) -> str:
        """Returns the name that a table, staged or not, has in the end."""
        return next((t.name for t in self.tables if self.staging_name(t.name) == name), name)


class TableWriter:
    """Writes through one connection, which must not be in autocommit mode."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def write(self, location: str, stream: TableStream, mode: WriteMode) -> int:
        """Writes one table and returns the number of its rows.

        Raises:
            AlreadyExists: If the table is there and may not be replaced.
            UnsupportedData: If a column's type cannot be written.
        """
        database, table = table_location(location)
        target = Target(database, uuid.uuid4().hex[:12], (TableToDeliver(table, stream),))
        rows = 0
        for step in self.write_all(target, mode):
            rows = step.rows
        return rows

    def write_all(
        self, target: Target, mode: WriteMode, *, note: Callable[[Mapping[str, int]], None] | None = None
    ) -> Iterator[DeliveredTable]:
        """Writes tables and puts them in place; yields how many rows of each have been staged.

        Args:
            target: What to write where.
            mode: What to do with tables that are there.
            note: Called with the rows of the tables before they become visible. With it, a marker at the
                server tells `finish` afterwards whether they did; `forget` removes it.

        Raises:
            AlreadyExists: If a table is there and may not be replaced.
            LocationNotFound: If the database is not there.
            UnsupportedData: If a column's type cannot be written.
        """
        there = self._there(target, mode)
        self._drop(target, self._made(target))
        rows: dict[str, int] = {}
        try:
            if note is not None:
                self._execute(f"CREATE TABLE {target.marker} (committed boolean) ENGINE = InnoDB")
            for table in target.tables:
                found = there.get(table.name)
                self._create(target, table, found)
                computed = found.generated if found else frozenset()
                for count in self._insert(target.staging(table.name), table.stream, computed):
                    rows[table.name] = count
                    yield DeliveredTable(table.name, target.location(table.name), count)
            self._connection.commit()
            self._make_foreign_keys(target, there)
            if note is not None:
                note(rows)
            self._fill(target, there, mode, marked=note is not None)
            self._rename(target, [t.name for t in target.tables if t.name not in there], note is not None)
        except BaseException:
            with suppress(pymysql.err.Error):
                self._connection.rollback()
                self._drop(target, self._made(target))
            raise

    def finish(self, target: Target) -> bool:
        """Tells whether an earlier `write_all` made its rows visible, and renames what it left staged."""
        made = self._made(target)
        if f"{target.prefix}_done" in made:
            return True
        if target.prefix not in made or not self._fetch(f"SELECT 1 FROM {target.marker}"):
            return False
        names = [t.name for t in target.tables if target.staging_name(t.name) in made]
        self._rename(target, names, marked=True)
        return True

    def forget(self, target: Target) -> None:
        """Removes the marker of a `write_all` that is finished."""
        self._drop(target, [f"{target.prefix}_done"])

    def try_all(self, database: str, names: Sequence[str], mode: WriteMode) -> None:
        """Finds out whether tables of these names could be written; see `try_tables`."""
        try_tables(self._fetch, database, names, mode)

    def _there(self, target: Target, mode: WriteMode) -> dict[str, Existing]:
        """Returns those of the tables that are there; refuses what cannot be written."""
        names = [table.name for table in target.tables]
        there = existing_tables(self._fetch, target.database, names, mode)
        for table in target.tables:
            found = there.get(table.name)
            if found and (unknown := [c for c in table.stream.schema.names if c not in found.columns]):
                raise InvalidArgument.of(
                    "data",
                    f'column "{unknown[0]}" is not in the table {target.location(table.name)} that is there; '
                    "drop that table first",
                )
        return there

    def _create(self, target: Target, table: TableToDeliver, there: Existing | None) -> None:
        staging = target.staging(table.name)
        if there is not None:
            # A temporary table vanishes with the connection, whatever happens.
            self._execute(f"CREATE TEMPORARY TABLE {staging} {there.like(target.place(table.name))}")
            return
        types = self._key_types(target, table)
        columns = [
            f"{quote(column.name)} {types.get(column.name) or _sql_type(column)}"
            for column in table.stream.schema
        ]
        if table.primary_key:
            columns.append(f"PRIMARY KEY ({_names(table.primary_key)})")
        self._execute(f"CREATE TABLE {staging} ({', '.join(columns)}) CHARACTER SET utf8mb4 ENGINE = InnoDB")

    def _key_types(self, target: Target, table: TableToDeliver) -> dict[str, str]:
        """Returns the types of keys' columns: of bounded length, and a foreign key's as what it refers to."""
        schemas = {each.name: each.stream.schema for each in target.tables}
        types = {name: self._key_type(table.stream.schema.field(name)) for name in table.keys}
        for key in table.foreign_keys:
            for column, referenced in zip(key.columns, key.referenced_columns, strict=True):
                if found := self._fetch(_COLUMN_TYPE, target.database, key.referenced_table, referenced):
                    [(kind, charset, collation)] = found
                    text = f" CHARACTER SET {charset} COLLATE {collation}" if charset else ""
                    types[column] = f"{kind}{text}"
                elif key.referenced_table in schemas:
                    types[column] = self._key_type(schemas[key.referenced_table].field(referenced))
        return types

    def _key_type(self, column: "pa.Field[Any]") -> str:
        """Returns a type that can be in a key: texts are as equal there as they are in the data."""
        type = _sql_type(column)
        if type == "longblob":
            return "varbinary(255)"
        if type != "longtext":
            return type
        version = str(self._connection.get_server_info())
        collation = "utf8mb4_nopad_bin" if "MariaDB" in version else "utf8mb4_0900_bin"
        if version.startswith("5.") and "MariaDB" not in version:
            collation = "utf8mb4_bin"  # MySQL 5 knows none that minds spaces at the end
        return f"varchar(255) CHARACTER SET utf8mb4 COLLATE {collation}"

    def _make_foreign_keys(self, target: Target, there: Mapping[str, object]) -> None:
        self._execute("SET SESSION foreign_key_checks = 0")  # what they refer to may not be filled yet
        new = [table for table in target.tables if table.name not in there]
        for table in new:
            for key in table.foreign_keys:
                parent = key.referenced_table
                place = target.place(parent) if parent in there else target.staging(parent)
                self._execute(
                    f"ALTER TABLE {target.staging(table.name)} ADD FOREIGN KEY ({_names(key.columns)}) "
                    f"REFERENCES {place} ({_names(key.referenced_columns)})"
                )

    def _fill(self, target: Target, there: Mapping[str, Existing], mode: WriteMode, *, marked: bool) -> None:
        """Puts rows into the tables that are there, in one transaction, and checks all references at its end.

        Deleting with checks would take rows of other tables along.
        """
        self._execute("SET SESSION foreign_key_checks = 0")
        for table in target.tables:
            if table.name in there:
                place = target.place(table.name)
                names = _names(_given(table.stream, there[table.name].generated))
                if mode is WriteMode.OVERWRITE:
                    self._execute(f"DELETE FROM {place}")
                staging = target.staging(table.name)
                self._execute(f"INSERT INTO {place} ({names}) SELECT {names} FROM {staging}")
        for table in target.tables:
            self._check_references(
                target, table.name if table.name in there else target.staging_name(table.name)
            )
        if marked:
            self._execute(f"INSERT INTO {target.marker} VALUES (true)")
        self._connection.commit()

    def _rename(self, target: Target, names: Sequence[str], marked: bool) -> None:
        """Gives new tables their names, all in one statement; foreign keys follow what they refer to."""
        changes = [f"{target.staging(name)} TO {target.place(name)}" for name in names]
        if marked:
            changes.append(f"{target.marker} TO {quote(target.database)}.{quote(f'{target.prefix}_done')}")
        if changes:
            self._execute(f"RENAME TABLE {', '.join(changes)}")

    def _check_references(self, target: Target, table: str) -> None:
        """Finds rows whose foreign keys refer to nothing, in this table and in those that refer to it."""
        keys: dict[tuple[str, str, str], list[tuple[Any, ...]]] = {}
        database = target.database
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
                shown = target.final_name(child)
                raise InvalidArgument(
                    f'the rows break foreign key "{name}" of table {format_location(schema, shown)}'
                )

    def _insert(self, staging: str, stream: TableStream, computed: frozenset[str]) -> Iterator[int]:
        given = _given(stream, computed)
        marks = ", ".join(["%s"] * len(given))
        sql = f"INSERT INTO {staging} ({_names(given).replace('%', '%%')}) VALUES ({marks})"
        # Without it, a zero in an AUTO_INCREMENT column would become the next number.
        self._execute("SET SESSION sql_mode = concat(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')")
        rows = 0
        yield rows
        with self._connection.cursor() as cursor:
            for batch in stream.batches:
                columns = [_values(name, batch.column(name)) for name in given]
                records = list(zip(*columns, strict=True))
                for start in range(0, len(records), _INSERT_ROWS):
                    cursor.executemany(sql, records[start : start + _INSERT_ROWS])
                rows += len(records)
                yield rows

    def _made(self, target: Target) -> list[str]:
        """Returns the names of what attempts at this delivery have made and left."""
        pattern = f"{target.prefix}%".replace("_", "\\_")
        found = self._fetch(_LIKE, target.database, pattern)
        return [str(name) for (name,) in found]

    def _drop(self, target: Target, names: Sequence[str]) -> None:
        if names:
            self._execute("SET SESSION foreign_key_checks = 0")
            places = ", ".join(f"{quote(target.database)}.{quote(name)}" for name in names)
            self._execute(f"DROP TABLE IF EXISTS {places}")

    def _execute(self, sql: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)

    def _fetch(self, sql: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            rows: Sequence[tuple[Any, ...]] = cursor.fetchall()
        return rows


def _given(stream: TableStream, computed: frozenset[str]) -> list[str]:
    """Returns the columns that the server does not compute itself."""
    names = [name for name in stream.schema.names if name not in computed]
    if not names:
        raise InvalidArgument.of("data", "has no column but those that the server computes itself")
    return names


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(quote, names))


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
    try:
        values: Sequence[Any] = array.to_pylist()
    except (ValueError, OverflowError) as error:
        raise UnsupportedData(
            f'column "{name}" holds a value that MySQL cannot ({error}); leave it out', column=name
        ) from None
    if pa.types.is_floating(type) and any(v is not None and v - v != 0 for v in values):
        raise UnsupportedData(f'column "{name}" holds NaN or an infinity, which MySQL cannot', column=name)
    return values
