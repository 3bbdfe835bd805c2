"""One connection to MySQL or MariaDB: a read-only transaction with a consistent snapshot."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pymysql
from pymysql.cursors import SSCursor

from simulacra.domain import TableSchema
from simulacra.errors import DeadlineExceeded, SimulacraError
from simulacra_connector.drivers.base import (
    ReadOptions,
    SessionOptions,
    TableStream,
    WriteMode,
    choose_columns,
)
from simulacra_connector.drivers.delivery import DeliveredTable, Delivery, schema_of
from simulacra_connector.drivers.locations import format_location
from simulacra_connector.drivers.mysql.catalog import Catalog
from simulacra_connector.drivers.mysql.columns import ReadColumn, quote, read_column
from simulacra_connector.drivers.mysql.connecting import connect, mysql_errors
from simulacra_connector.drivers.mysql.rows import column_batches
from simulacra_connector.drivers.mysql.writing import TableWriter, Target
from simulacra_connector.keys import key_literals
from simulacra_connector.sampling import select_rows
from simulacra_connector.types import Connection

__all__ = ["MySqlSession"]

# As in the PostgreSQL driver: how many rows too many the server's sample has, in standard deviations.
_MARGIN = 6.0


class MySqlSession:
    """A session with MySQL or MariaDB; see `Session`."""

    def __init__(self, connection: Connection, options: SessionOptions) -> None:
        self._parameters = connection
        self._options = options
        self._catalog = Catalog(self._fetch)
        self._connection: Any = None
        self._version = ""

    def __enter__(self) -> Self:
        self._connection = connect(
            self._parameters, self._options, read_timeout=max(self._options.read_timeout, 60)
        )
        self._version = str(self._connection.get_server_info())
        self._fetch("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Closing does not read what is left of a result; the server notices and stops. The driver would read
        # it when it forgets the result, over a connection that is gone.
        if self._connection._result is not None:
            self._connection._result.unbuffered_active = False
        with suppress(pymysql.err.Error):
            self._connection.close()

    def test(self) -> str:
        """Returns the server's version, which it told when connecting."""
        return self._version if "MariaDB" in self._version else f"MySQL {self._version}"

    def locations(self, prefix: str) -> list[str]:
        """Lists databases, or the tables of a database."""
        return self._catalog.locations(prefix)

    def schema(self, location: str) -> TableSchema:
        """Describes a table, its keys, and its rows: counted, or estimated when that takes long."""
        table, estimate = self._catalog.table(location)
        primary_key, foreign_keys = self._catalog.keys(location)
        try:
            [(rows,)] = self._fetch(f"SELECT COUNT(*) FROM {table}", timeout=self._options.count_timeout)
        except DeadlineExceeded:
            rows = estimate
        return TableSchema(
            location=location,
            columns=self._catalog.columns(location),
            primary_key=primary_key,
            foreign_keys=foreign_keys,
            total_rows=None if rows is None else int(rows),
            referenced_by=self._catalog.referenced_by(location),
        )

    @contextmanager
    def read(self, location: str, options: ReadOptions) -> Iterator[TableStream]:
        """Reads a table; a sample of a large one is drawn by the server."""
        table, _ = self._catalog.table(location)
        fields = {field.name: field for field in self._describe(table, location)}
        columns = [
            read_column(fields[name]) for name in choose_columns(location, list(fields), options.columns)
        ]
        [(count,)] = self._fetch(f"SELECT COUNT(*) FROM {table}", timeout=self._options.read_timeout)
        total, wanted = int(count), options.max_rows
        source, available = self._sampled(table, total, options)
        limit = f" LIMIT {wanted}" if wanted is not None and options.seed is None else ""
        with self._stream(f"{source}{limit}", columns, location, self._options.read_timeout) as batches:
            rows = select_rows(batches, total=available, wanted=wanted, seed=options.seed)
            yield TableStream(_schema(columns), rows, total)

    def _sampled(self, table: str, total: int, options: ReadOptions) -> tuple[str, int]:
        wanted = options.max_rows
        if literals := key_literals(options.within):
            assert options.within is not None
            return f"{table} WHERE {quote(options.within.columns[0])} IN ({','.join(literals)})", total
        if wanted is None or options.seed is None or wanted >= total:
            return table, total
        share = (wanted + _MARGIN * wanted**0.5 + _MARGIN**2) / total
        if share >= 1:
            return table, total
        # RAND with a seed is a fixed sequence, one number a row, so that as many rows pass each time.
        source = f"{table} WHERE RAND({options.seed % 2**31}) < {share}"
        [(count,)] = self._fetch(f"SELECT COUNT(*) FROM {source}", timeout=self._options.read_timeout)
        return (source, int(count)) if int(count) >= wanted else (table, total)

    @contextmanager
    def query(self, statement: str, max_rows: int | None) -> Iterator[TableStream]:
        """Runs one SELECT: as a subquery in a read-only transaction it cannot be anything else.

        It cannot leave its parentheses either, for INTO OUTFILE after them: whose columns are asked for has a
        name that no statement can know.
        """
        name = f"query_{uuid.uuid4().hex}"
        inner = f"(\n{statement.strip().rstrip(';')}\n) AS {name}"
        columns = [read_column(field) for field in self._describe(inner, "the query", f"{name}.*")]
        limit = f" LIMIT {max_rows}" if max_rows is not None else ""
        timeout = self._options.statement_timeout
        with self._stream(f"{inner}{limit}", columns, "the query", timeout) as batches:
            yield TableStream(_schema(columns), batches)

    def write(self, location: str, stream: TableStream, mode: WriteMode) -> int:
        """Writes a table over a connection of its own; see `TableWriter`."""
        with self._writer(location) as writer:
            return writer.write(location, stream, mode)

    def deliver(self, delivery: Delivery) -> Iterator[DeliveredTable]:
        """Writes tables together; see `TableWriter.write_all` for what a killed attempt leaves."""
        database, journal = schema_of(delivery.location), delivery.journal
        target = Target(database, delivery.tag, tuple(delivery.tables))
        note = journal.load() or {}
        rows: dict[str, int] = dict(note.get("rows", {}))

        def remember(counts: Mapping[str, int]) -> None:
            journal.save({"rows": dict(counts), "done": False})

        with self._writer(delivery.location) as writer:
            if not note.get("done"):
                if not (rows and writer.finish(target)):
                    for step in writer.write_all(target, delivery.mode, note=remember):
                        rows[step.table_name] = step.rows
                        yield step
                journal.save({"rows": rows, "done": True})
            writer.forget(target)
        for name, count in rows.items():
            yield DeliveredTable(name, target.location(name), count, done=True)

    def try_out(self, location: str, names: Sequence[str], mode: WriteMode) -> None:
        """Has the server do, on no rows, what a delivery does."""
        with self._writer(location) as writer:
            writer.try_all(schema_of(location), names, mode)

    def table_at(self, location: str, name: str) -> str:
        """Returns `database.table`."""
        return format_location(schema_of(location), name)

    @contextmanager
    def _writer(self, location: str) -> Iterator[TableWriter]:
        connection = connect(self._parameters, self._options, read_timeout=self._options.read_timeout)
        try:
            with (
                mysql_errors(self._parameters, location),
                self._options.cancellation.stopping(lambda: self._kill(connection)),
            ):
                yield TableWriter(connection)
        finally:
            with suppress(pymysql.err.Error):
                connection.close()

    def _describe(self, source: str, location: str, columns: str = "*") -> Sequence[Any]:
        with (
            mysql_errors(self._parameters, location),
            # A subquery may run even though none of its rows is asked for.
            self._options.cancellation.stopping(lambda: self._kill(self._connection)),
            self._connection.cursor() as cursor,
        ):
            self._limit_time(cursor, self._options.statement_timeout)
            cursor.execute(f"SELECT {columns} FROM {source} LIMIT 0")
            fields: Sequence[Any] = cursor._result.fields
        return fields

    def _fetch(self, sql: str, *parameters: Any, timeout: float | None = None) -> list[tuple[Any, ...]]:
        with (
            mysql_errors(self._parameters),
            self._options.cancellation.stopping(lambda: self._kill(self._connection)),
            self._connection.cursor() as cursor,
        ):
            self._limit_time(cursor, timeout or self._options.statement_timeout)
            cursor.execute(sql, parameters or None)
            return list(cursor.fetchall())

    def _limit_time(self, cursor: Any, seconds: float) -> None:
        if "MariaDB" in self._version:
            cursor.execute(f"SET SESSION max_statement_time = {seconds}")
        else:
            cursor.execute(f"SET SESSION max_execution_time = {int(seconds * 1000)}")

    def _kill(self, connection: Any) -> None:
        """Stops what a connection runs, from another one; it is called in another thread."""
        with suppress(SimulacraError, pymysql.err.Error):
            killer = connect(self._parameters, self._options, read_timeout=10)
            with killer, killer.cursor() as cursor:
                cursor.execute(f"KILL QUERY {connection.thread_id()}")

    @contextmanager
    def _stream(
        self, source: str, columns: Sequence[ReadColumn], location: str, timeout: float
    ) -> Iterator[Iterator[pa.RecordBatch]]:
        select = ", ".join(column.expression for column in columns)
        with self._options.cancellation.stopping(lambda: self._kill(self._connection)):
            with mysql_errors(self._parameters, location):
                with self._connection.cursor() as setup:
                    self._limit_time(setup, timeout)
                # Not closed: that would read the rest of the rows; the session's end closes the connection.
                cursor = SSCursor(self._connection)
                cursor.execute(f"SELECT {select} FROM {source}")
            yield self._batches(cursor, columns, location)

    def _batches(
        self, cursor: SSCursor, columns: Sequence[ReadColumn], location: str
    ) -> Iterator[pa.RecordBatch]:
        schema = _schema(columns)
        batches = column_batches(cursor, len(columns))
        while True:
            self._options.cancellation.check()
            with mysql_errors(self._parameters, location):
                cells = next(batches, None)
            if cells is None:
                return
            arrays = [column.convert(array) for column, array in zip(columns, cells, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _schema(columns: Sequence[ReadColumn]) -> pa.Schema:
    return pa.schema([pa.field(column.name, column.type) for column in columns])
