"""A session with a database: what `Session` asks for, made of a link, a catalog and a dialect."""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import ClassVar, Self

import pyarrow as pa

from simulacra.domain import ColumnSchema, TableSchema
from simulacra.errors import DeadlineExceeded, UnsupportedData
from simulacra_connector.drivers.base import (
    ReadOptions,
    SessionOptions,
    TableStream,
    WriteMode,
    choose_columns,
    location_not_found,
)
from simulacra_connector.drivers.delivery import DeliveredTable, Delivery, TableToDeliver, schema_of
from simulacra_connector.drivers.locations import format_location, split_location, table_location
from simulacra_connector.drivers.sql.catalog import Catalog, ColumnInfo, Relation
from simulacra_connector.drivers.sql.columns import ReadColumn, encoding_of, read_schema
from simulacra_connector.drivers.sql.dialect import Dialect
from simulacra_connector.drivers.sql.link import Link
from simulacra_connector.drivers.sql.writing import TableWriter
from simulacra_connector.sampling import select_rows
from simulacra_connector.types import Connection

__all__ = ["SqlSession"]

# As in the PostgreSQL driver: how many rows too many the server's sample has, in standard deviations.
_MARGIN = 6.0


class SqlSession(ABC):
    """A session; see `Session`. Subclasses open links and know the database's types and samples."""

    dialect: ClassVar[Dialect]

    def __init__(self, connection: Connection, options: SessionOptions) -> None:
        self._parameters = connection
        self._options = options
        self._link: Link
        self._catalog: Catalog

    @abstractmethod
    def open_link(self, *, writing: bool) -> Link:
        """Connects: for reading, to one snapshot that cannot be written, where the database can."""

    @abstractmethod
    def make_catalog(self, link: Link) -> Catalog:
        """Makes the catalog on a connection."""

    @abstractmethod
    def version(self) -> str:
        """Asks for the server's name and version."""

    @abstractmethod
    def read_column(self, column: ColumnInfo) -> ReadColumn:
        """Plans how to read a table's column.

        Raises:
            UnsupportedData: If its type has no lossless form.
        """

    @abstractmethod
    def describe(self, subquery: str) -> list[ReadColumn]:
        """Plans how to read the columns of a query, which is in parentheses."""

    def measured(self, source: str, columns: list[ReadColumn]) -> list[ReadColumn]:
        """Gives columns whose type depends on their values that type."""
        del source
        return columns

    def subquery(self, statement: str) -> str:
        """Returns a user's statement in parentheses."""
        return f"(\n{statement.strip().rstrip(';')}\n)"

    def sample(self, relation: Relation, share: float, seed: int) -> str | None:
        """Returns a source of about this share of a table's rows: the same each time. None, it has none."""
        del relation, share, seed
        return None

    def writer(self, link: Link) -> TableWriter:
        """Makes what writes tables."""
        return TableWriter(link, self.dialect, self.make_catalog(link))

    def __enter__(self) -> Self:
        self._link = self.open_link(writing=False)
        self._catalog = self.make_catalog(self._link)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._link.close()

    def test(self) -> str:
        """Asks for the server's version."""
        return self.version()

    def locations(self, prefix: str) -> list[str]:
        """Lists schemas that start with the prefix, or the tables of the schema that it names."""
        schemas = self._catalog.schemas()
        if not prefix:
            return schemas
        schema, table = split_location(prefix.removesuffix("."))
        if schema not in schemas:
            return [name for name in schemas if table is None and name.startswith(schema)]
        names = [name for name in self._catalog.tables(schema) if name.startswith(table or "")]
        return [format_location(schema, name) for name in names]

    def schema(self, location: str) -> TableSchema:
        """Describes a table, its keys, and its rows: counted, or estimated when that takes long."""
        relation = self._relation(location)
        primary_key, foreign_keys = self._catalog.keys(relation)
        return TableSchema(
            location=location,
            columns=[self._described(column) for column in self._catalog.columns(relation)],
            primary_key=primary_key,
            foreign_keys=foreign_keys,
            total_rows=self._count(relation),
        )

    def _described(self, column: ColumnInfo) -> ColumnSchema:
        try:
            type: pa.DataType | None = self.read_column(column).type
        except UnsupportedData:
            type = None
        return ColumnSchema(
            name=column.name,
            original_data_type=column.original,
            default_model_encoding_type=encoding_of(type),
            nullable=column.nullable,
        )

    def _count(self, relation: Relation) -> int | None:
        if relation.is_table and relation.estimated_rows is not None and self.estimates_are_exact:
            return relation.estimated_rows
        try:
            [(rows,)] = self._link.fetch(
                self.dialect.select(self.dialect.count, self.source(relation)),
                seconds=self._options.count_timeout,
            )
        except DeadlineExceeded:
            # Stopping a statement may cost the connection.
            self._link.close()
            self.__enter__()
            return relation.estimated_rows
        return int(rows)

    estimates_are_exact: ClassVar[bool] = False

    def source(self, relation: Relation) -> str:
        """Returns the table's name in SQL."""
        return self.dialect.quote(relation.schema, relation.table)

    def _relation(self, location: str) -> Relation:
        schema, table = table_location(location)
        relation = self._catalog.relation(schema, table)
        if relation is None:
            near = self._catalog.tables(schema)[:8]
            raise location_not_found(location, f"its schema has {', '.join(near) or 'no tables'}")
        return relation

    @contextmanager
    def read(self, location: str, options: ReadOptions) -> Iterator[TableStream]:
        """Reads a table; a sample of a large one is drawn by the server where that can draw one."""
        relation = self._relation(location)
        infos = {column.name: column for column in self._catalog.columns(relation)}
        names = choose_columns(location, list(infos), options.columns)
        columns = self.measured(self.source(relation), [self.read_column(infos[name]) for name in names])
        total = self._rows(self.source(relation))
        source, available = self._sampled(relation, total, options)
        limit = options.max_rows if options.seed is None else None
        select = self.dialect.select(_expressions(columns), source, limit)
        seconds = self._options.read_timeout
        with self._link.stream(select, columns, seconds=seconds, location=location) as batches:
            rows = select_rows(batches, total=available, wanted=options.max_rows, seed=options.seed)
            yield TableStream(read_schema(columns), rows, total)

    def _rows(self, source: str) -> int:
        sql = self.dialect.select(self.dialect.count, source)
        [(count,)] = self._link.fetch(sql, seconds=self._options.read_timeout)
        return int(count)

    def _sampled(self, relation: Relation, total: int, options: ReadOptions) -> tuple[str, int]:
        """Returns what to read from, and how many rows that has: at least as many as wanted."""
        whole, wanted = self.source(relation), options.max_rows
        if wanted is None or options.seed is None or wanted >= total:
            return whole, total
        share = (wanted + _MARGIN * wanted**0.5 + _MARGIN**2) / total
        source = self.sample(relation, share, options.seed % 2**31) if share < 1 else None
        if source is None:
            return whole, total
        available = self._rows(source)
        return (source, available) if available >= wanted else (whole, total)

    @contextmanager
    def query(self, statement: str, max_rows: int | None) -> Iterator[TableStream]:
        """Runs one SELECT, as a subquery of one that is ours, on a connection that only reads."""
        inner = self.subquery(statement)
        columns = self.describe(inner)
        select = self.dialect.select(
            _expressions(columns), f"{inner} {self.dialect.quote('query')}", max_rows
        )
        seconds = self._options.statement_timeout
        with self._link.stream(select, columns, seconds=seconds, location="the query") as batches:
            yield TableStream(read_schema(columns), batches)

    def write(self, location: str, stream: TableStream, mode: WriteMode) -> int:
        """Writes a table over a connection of its own; see `TableWriter`."""
        schema, table = table_location(location)
        link = self.open_link(writing=True)
        rows = 0
        try:
            written = self.writer(link).write_all(
                schema, [TableToDeliver(table, stream)], mode, tag=uuid.uuid4().hex[:12]
            )
            for step in written:
                rows = step.rows
        finally:
            link.close()
        return rows

    def deliver(self, delivery: Delivery) -> Iterator[DeliveredTable]:
        """Stages all tables, then puts them in place; see `TableWriter`."""
        link = self.open_link(writing=True)
        try:
            yield from self.writer(link).write_all(
                schema_of(delivery.location),
                delivery.tables,
                delivery.mode,
                tag=delivery.tag,
                journal=delivery.journal,
            )
        finally:
            link.close()

    def try_out(self, location: str, names: Sequence[str], mode: WriteMode) -> None:
        """Looks at tables, and makes one that it drops; see `TableWriter.try_all`."""
        link = self.open_link(writing=True)
        try:
            self.writer(link).try_all(schema_of(location), names, mode)
        finally:
            link.close()

    def table_at(self, location: str, name: str) -> str:
        """Returns the location of a table of a delivery."""
        return format_location(schema_of(location), name)


def _expressions(columns: Sequence[ReadColumn]) -> str:
    return ", ".join(column.expression for column in columns)
