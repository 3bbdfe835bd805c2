"""One connection to PostgreSQL: a read-only REPEATABLE READ transaction, so what it reads is one snapshot."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa

from simulacra.domain import TableSchema
from simulacra.errors import DeadlineExceeded, InvalidArgument
from simulacra_connector.drivers.base import (
    ReadOptions,
    SessionOptions,
    TableStream,
    WriteMode,
    choose_columns,
)
from simulacra_connector.drivers.delivery import DeliveredTable, Delivery, schema_of
from simulacra_connector.drivers.locations import format_location
from simulacra_connector.drivers.postgres.catalog import Catalog, Relation, quote
from simulacra_connector.drivers.postgres.columns import ReadColumn, measure_sql, read_columns, with_measures
from simulacra_connector.drivers.postgres.connecting import connect, connect_for_writing, postgres_errors
from simulacra_connector.drivers.postgres.writing import TableWriter
from simulacra_connector.keys import key_literals
from simulacra_connector.sampling import select_rows
from simulacra_connector.types import Connection

__all__ = ["PostgresSession"]

_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# Rows beyond the wanted sample that a server-side Bernoulli sample asks for, in standard deviations: it then
# holds too few once in 10^9 reads, and those read the whole table instead.
_MARGIN = 6.0


class PostgresSession:
    """A session with PostgreSQL; see `Session`."""

    def __init__(self, connection: Connection, options: SessionOptions) -> None:
        self._parameters = connection
        self._options = options
        self._catalog = Catalog(self._fetch)
        self._connection: adbc.Connection

    def __enter__(self) -> Self:
        self._connection = connect(self._parameters, self._options)
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def test(self) -> str:
        """Asks for the server's version."""
        [(version,)] = self._fetch("SELECT current_setting('server_version')")
        return f"PostgreSQL {version}"

    def locations(self, prefix: str) -> list[str]:
        """Lists schemas, or the tables of a schema."""
        return self._catalog.locations(prefix)

    def schema(self, location: str) -> TableSchema:
        """Describes a table, its keys, and its rows: counted, or estimated when that takes long."""
        relation = self._catalog.relation(location)
        return TableSchema(
            location=location,
            columns=self._catalog.columns(relation),
            primary_key=self._catalog.primary_key(relation),
            foreign_keys=self._catalog.foreign_keys(relation),
            total_rows=self._count(relation),
            referenced_by=self._catalog.referenced_by(relation),
        )

    def _count(self, relation: Relation) -> int | None:
        try:
            [(rows,)] = self._fetch(
                f"SELECT count(*) FROM {relation.sql}", timeout=self._options.count_timeout
            )
        except DeadlineExceeded:
            self._execute("ROLLBACK")
            self._begin()
            return relation.estimated_rows
        return int(rows)

    @contextmanager
    def read(self, location: str, options: ReadOptions) -> Iterator[TableStream]:
        """Reads a table; a sample of a large one is drawn by the server, so that the rest never travels."""
        relation = self._catalog.relation(location)
        described = self._describe(f"SELECT * FROM {relation.sql}", location)
        names = choose_columns(location, described.names, options.columns)
        columns = read_columns(described, names)
        [(total, *measures)] = self._fetch(
            f"SELECT {measure_sql(columns)} FROM {relation.sql}", timeout=self._options.read_timeout
        )
        columns = with_measures(columns, measures)
        source, available = self._sampled(relation, total, options)
        select = ", ".join(column.expression for column in columns)
        limit = f" LIMIT {options.max_rows}" if options.max_rows is not None and options.seed is None else ""
        statement = f"SELECT {select} FROM {source}{limit}"
        with self._stream(statement, columns, location, self._options.read_timeout) as batches:
            yield TableStream(
                schema=_schema(columns),
                batches=select_rows(batches, total=available, wanted=options.max_rows, seed=options.seed),
                total_rows=total,
            )

    def _sampled(self, relation: Relation, total: int, options: ReadOptions) -> tuple[str, int]:
        """Returns what to read from, and how many rows that has: at least as many as wanted."""
        wanted = options.max_rows
        if literals := key_literals(options.within):
            assert options.within is not None
            column = quote(options.within.columns[0])
            return f"{relation.sql} WHERE {column} = ANY('{{{','.join(literals)}}}'::int8[])", total
        if wanted is None or options.seed is None or wanted >= total or not relation.samples:
            return relation.sql, total
        percent = 100 * (wanted + _MARGIN * wanted**0.5 + _MARGIN**2) / total
        if percent >= 100:
            return relation.sql, total
        # The same seed in the same snapshot draws the same rows, so they can be counted before they are read.
        source = f"{relation.sql} TABLESAMPLE BERNOULLI ({percent}) REPEATABLE ({options.seed % 2**31})"
        [(available,)] = self._fetch(f"SELECT count(*) FROM {source}", timeout=self._options.read_timeout)
        return (source, available) if available >= wanted else (relation.sql, total)

    @contextmanager
    def query(self, statement: str, max_rows: int | None) -> Iterator[TableStream]:
        """Runs one SELECT: as a subquery in a read-only transaction it cannot be anything else."""
        inner = f"(\n{statement.strip().rstrip(';')}\n) AS query"
        described = self._describe(f"SELECT * FROM {inner}", "the query")
        twice = [name for name, times in Counter(described.names).items() if times > 1]
        if twice:
            raise InvalidArgument.of("sql", f"gives several columns called {twice[0]!r}; name them apart")
        columns = read_columns(described, described.names, measure=False)
        select = ", ".join(column.expression for column in columns)
        limit = f" LIMIT {max_rows}" if max_rows is not None else ""
        timeout = self._options.statement_timeout
        with self._stream(f"SELECT {select} FROM {inner}{limit}", columns, "the query", timeout) as batches:
            yield TableStream(schema=_schema(columns), batches=batches)

    def write(self, location: str, stream: TableStream, mode: WriteMode) -> int:
        """Writes a table in one transaction of its own; see `TableWriter`."""
        connection = connect_for_writing(self._parameters, self._options)
        with (
            postgres_errors(self._parameters, location),
            connection,
            self._options.cancellation.stopping(connection.cancel_safe),
        ):
            return TableWriter(connection).write(location, stream, mode)

    def deliver(self, delivery: Delivery) -> Iterator[DeliveredTable]:
        """Writes tables in one transaction, noting its number: the server knows how it has ended."""
        schema = schema_of(delivery.location)
        rows: dict[str, int] = {}
        note = delivery.journal.load()
        if note is not None and self._committed(int(note["transaction"])):
            rows = dict(note["rows"])
        else:
            connection = connect_for_writing(self._parameters, self._options)
            with (
                postgres_errors(self._parameters, delivery.location),
                connection,
                self._options.cancellation.stopping(connection.cancel_safe),
            ):
                for table in TableWriter(connection).write_all(schema, delivery.tables, delivery.mode):
                    rows[table.table_name] = table.rows
                    yield table
                [(number,)] = connection.execute("SELECT txid_current()").fetchall()
                self._options.cancellation.check()
                delivery.journal.save({"transaction": number, "rows": rows})
        for name, count in rows.items():
            yield DeliveredTable(name, self.table_at(delivery.location, name), count, done=True)

    def try_out(self, location: str, names: Sequence[str], mode: WriteMode) -> None:
        """Looks at tables and permissions, as the user who would write."""
        connection = connect_for_writing(self._parameters, self._options)
        with (
            postgres_errors(self._parameters, location),
            connection,
            self._options.cancellation.stopping(connection.cancel_safe),
        ):
            TableWriter(connection).try_all(schema_of(location), names, mode)

    def table_at(self, location: str, name: str) -> str:
        """Returns `schema.table`."""
        return format_location(schema_of(location), name)

    def _committed(self, transaction: int) -> bool:
        """Tells how a transaction of an earlier attempt ended; one whose client is gone ends soon."""
        deadline = time.monotonic() + self._options.statement_timeout
        while True:
            [(status,)] = self._fetch("SELECT txid_status($1::int8)", transaction)
            if status != "in progress":
                return bool(status == "committed")
            if time.monotonic() > deadline:
                raise DeadlineExceeded("an earlier attempt at this delivery is still being committed")
            self._options.cancellation.check()
            time.sleep(0.2)

    def _begin(self) -> None:
        self._execute(_BEGIN)
        self._set_timeout(self._options.statement_timeout)

    def _set_timeout(self, seconds: float) -> None:
        self._execute(f"SET LOCAL statement_timeout = {int(seconds * 1000)}")

    def _execute(self, sql: str) -> None:
        with postgres_errors(self._parameters), self._connection.cursor() as cursor:
            cursor.execute(sql)

    def _fetch(self, sql: str, *parameters: Any, timeout: float | None = None) -> list[tuple[Any, ...]]:
        self._set_timeout(timeout or self._options.statement_timeout)
        with (
            postgres_errors(self._parameters),
            self._connection.cursor() as cursor,
            self._options.cancellation.stopping(cursor.adbc_cancel),
        ):
            cursor.execute(sql, parameters or None)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    def _describe(self, sql: str, location: str) -> pa.Schema:
        with postgres_errors(self._parameters, location), self._connection.cursor() as cursor:
            described: pa.Schema = cursor.adbc_execute_schema(sql)
        return described

    @contextmanager
    def _stream(
        self, sql: str, columns: Sequence[ReadColumn], location: str, timeout: float
    ) -> Iterator[Iterator[pa.RecordBatch]]:
        self._set_timeout(timeout)
        with self._connection.cursor() as cursor, self._options.cancellation.stopping(cursor.adbc_cancel):
            with postgres_errors(self._parameters, location):
                cursor.execute(sql)
                reader: pa.RecordBatchReader = cursor.fetch_record_batch()
            yield self._batches(reader, columns, location)

    def _batches(
        self, reader: pa.RecordBatchReader, columns: Sequence[ReadColumn], location: str
    ) -> Iterator[pa.RecordBatch]:
        schema = _schema(columns)
        while True:
            self._options.cancellation.check()
            with postgres_errors(self._parameters, location):
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    return
            arrays = [column.convert(array) for column, array in zip(columns, batch.columns, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _schema(columns: Sequence[ReadColumn]) -> pa.Schema:
    return pa.schema([pa.field(column.name, column.type) for column in columns])
