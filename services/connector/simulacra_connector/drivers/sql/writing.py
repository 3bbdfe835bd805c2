"""Writes tables: into staging tables first, then in their places.

What can fail does so while only staging tables know of it: rows that do not fit, keys that they break. Then
a new table is a staging table that is renamed, and a table that is there gets its rows replaced, or added
to, in one transaction or statement, so that its keys, indexes and grants stay.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from simulacra.errors import AlreadyExists, InvalidArgument, PermissionDenied
from simulacra_connector.drivers.base import TableStream, WriteMode, location_not_found
from simulacra_connector.drivers.delivery import (
    DeliveredTable,
    Journal,
    TableToDeliver,
    already_there,
)
from simulacra_connector.drivers.locations import format_location
from simulacra_connector.drivers.sql.catalog import Catalog, Relation
from simulacra_connector.drivers.sql.dialect import Dialect
from simulacra_connector.drivers.sql.link import Link
from simulacra_connector.drivers.sql.values import batches_of, python_rows

__all__ = ["Staged", "TableWriter"]


@dataclass(frozen=True, slots=True)
class Staged:
    """A table to write, where its rows are staged, and what is in its place."""

    table: TableToDeliver
    schema: str
    name: str
    """Of the staging table."""
    there: Relation | None = None

    @property
    def location(self) -> str:
        """Where the table goes."""
        return format_location(self.schema, self.table.name)

    @property
    def columns(self) -> list[str]:
        """The names of the columns to write."""
        return list(self.table.stream.schema.names)


class TableWriter:
    """Writes through one connection; as it is, for a database where only changes of rows are transactions."""

    insert_rows: ClassVar[int] = 1000
    mark: ClassVar[str] = "?"
    """What stands for a value in a statement."""
    enforced_keys: ClassVar[str] = ""
    """What follows a key that the database does not check."""
    keys_follow_names: ClassVar[bool] = True
    """Whether keys can be made, and fail, while tables are staged; if not, they are declared afterwards."""

    rolls_back: ClassVar[bool] = False
    """Whether an error takes back what is in its place already."""

    def __init__(self, link: Link, dialect: Dialect, catalog: Catalog) -> None:
        self.placed: list[str] = []
        """The tables that are in their places."""
        self.link = link
        self.dialect = dialect
        self.catalog = catalog

    def write_all(
        self,
        schema: str,
        tables: Sequence[TableToDeliver],
        mode: WriteMode,
        *,
        tag: str,
        journal: Journal | None = None,
    ) -> Iterator[DeliveredTable]:
        """Writes tables; yields how many rows of each are staged, and then that it is in its place.

        What `journal` knows to be there is not written again; `tag` is the same at each attempt.

        Raises:
            AlreadyExists: If a table is there and may not be replaced.
            LocationNotFound: If the schema is not there.
            UnsupportedData: If a column's type cannot be written.
        """
        if schema not in self.catalog.schemas():
            raise location_not_found(schema, f'there is no schema "{schema}"')
        names = {table.name: f"simulacra_{tag}_{position}" for position, table in enumerate(tables)}
        done = self._settled(schema, names, journal)
        staged = [
            self._checked(Staged(table, schema, names[table.name]), mode)
            for table in tables
            if table.name not in done
        ]
        rows: dict[str, int] = {}
        try:
            with self.writing():
                for each in staged:
                    self.drop(each)
                    self.create(each)
                    rows[each.table.name] = 0
                    for count in self.load(each, each.table.stream):
                        rows[each.table.name] = count
                        yield DeliveredTable(each.table.name, each.location, count)
                if self.keys_follow_names:
                    self.make_keys(staged, self.place)
                if journal is not None:
                    journal.save({"rows": done, "publishing": rows})
                self.publish_all(staged, mode)
                if not self.keys_follow_names:
                    self.make_keys(staged, self.target)
        except BaseException:
            dropped = [self.link.execute_anyway(self.drop_sql(each)) for each in staged]
            if all(dropped) and journal is not None:
                placed = {} if self.rolls_back else {name: rows[name] for name in self.placed}
                journal.save({"rows": done | placed})
            raise
        done |= rows
        if journal is not None:
            journal.save({"rows": done})
        for table in tables:
            yield DeliveredTable(table.name, format_location(schema, table.name), done[table.name], done=True)

    def try_all(self, schema: str, names: Sequence[str], mode: WriteMode) -> None:
        """Finds out whether tables could be written: makes a table of one column, and drops it.

        Raises:
            AlreadyExists: If a table is there and may not be replaced.
            LocationNotFound: If the schema is not there.
            PermissionDenied: If the user may not make tables.
        """
        if schema not in self.catalog.schemas():
            raise location_not_found(schema, f'there is no schema "{schema}"')
        empty = TableStream(pa.schema([("a", pa.int64())]), iter(()))
        for name in names:
            self._require_plain(Staged(TableToDeliver(name, empty), schema, name), mode)
        tag = f"simulacra_check_{uuid.uuid4().hex[:8]}"
        probe = Staged(TableToDeliver(tag, empty), schema, tag)
        try:
            with self.writing():
                self.make_probe(probe)
        except PermissionDenied as error:
            raise PermissionDenied(
                f"no table can be made in {schema}; let the connector's user do that, or give another "
                f"location: {error.message}",
                location=schema,
            ) from None

    def make_probe(self, probe: Staged) -> None:
        """Makes a table and drops it."""
        try:
            self.create(probe)
        finally:
            self.link.execute_anyway(self.drop_sql(probe))

    def _settled(self, schema: str, names: Mapping[str, str], journal: Journal | None) -> dict[str, int]:
        """Finds out which tables an earlier attempt has put in place: those that are staged no more."""
        note: Mapping[str, Any] = (journal.load() if journal else None) or {}
        done: dict[str, int] = dict(note.get("rows", {}))
        for name, count in note.get("publishing", {}).items():
            if name in names and self.is_settled(schema, names[name], int(count)):
                done[name] = int(count)
        return done

    def is_settled(self, schema: str, name: str, rows: int) -> bool:
        """Tells whether an earlier attempt has put the rows of a staging table in place.

        Then it is gone, by its new name, or it is empty.
        """
        if self.catalog.relation(schema, name) is None:
            return True
        sql = self.dialect.select(self.dialect.count, self.dialect.quote(schema, name))
        [(count,)] = self.link.fetch(sql)
        return rows > 0 and int(count) == 0

    def _require_plain(self, staged: Staged, mode: WriteMode) -> Relation | None:
        there = self.catalog.relation(staged.schema, staged.table.name)
        if there is not None and mode is WriteMode.FAIL:
            raise already_there(staged.location)
        if there is not None and not there.is_table:
            raise AlreadyExists(f"{staged.location} is no plain table; choose another location")
        return there

    def _checked(self, staged: Staged, mode: WriteMode) -> Staged:
        staged.table.check()
        there = self._require_plain(staged, mode)
        if there is None:
            for column in staged.table.stream.schema:
                self.dialect.sql_type(column)
            return staged
        known = {column.name for column in self.catalog.columns(there)}
        if unknown := [name for name in staged.columns if name not in known]:
            raise InvalidArgument.of(
                "data",
                f'column "{unknown[0]}" is not in the table {staged.location} that is there; drop it first',
            )
        return Staged(staged.table, staged.schema, staged.name, there)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Surrounds everything; a database whose changes of tables are transactions begins and ends one."""
        yield

    @contextmanager
    def changing_rows(self) -> Iterator[None]:
        """Makes changes of rows one change."""
        self.link.execute("BEGIN")
        try:
            yield
        except BaseException:
            self.link.execute_anyway("ROLLBACK")
            raise
        self.link.execute("COMMIT")

    def create(self, staged: Staged) -> None:
        """Makes the staging table: of the types of the table that is there, or of the rows'."""
        place = self.place(staged)
        if staged.there is not None:
            names = self.dialect.names(staged.columns)
            self.link.execute(
                f"CREATE TABLE {place} AS SELECT {names} FROM {self.target(staged)} WHERE 1 = 0"
            )
            return
        keys = staged.table.keys
        columns = ", ".join(
            f"{self.dialect.quote(column.name)} {self.dialect.sql_type(column, key=column.name in keys)}"
            + (" NOT NULL" if column.name in staged.table.primary_key else self.dialect.null)
            for column in staged.table.stream.schema
        )
        self.link.execute(f"CREATE TABLE {place} ({columns})")

    def load(self, staged: Staged, stream: TableStream) -> Iterator[int]:
        """Fills the staging table; yields the rows so far."""
        marks = ", ".join([self.mark] * len(staged.columns))
        names = self.dialect.names(staged.columns)
        sql = f"INSERT INTO {self.place(staged)} ({names}) VALUES ({marks})"
        count = 0
        for batch in stream.batches:
            records = python_rows(batch, database=self.dialect.name)
            for part in batches_of(records, self.insert_rows):
                self.insert(sql, part)
            count += len(records)
            yield count

    def insert(self, sql: str, records: list[tuple[Any, ...]]) -> None:
        """Inserts some rows."""
        with self.link.bounded(self.link.options.read_timeout), self.link.translated():
            self.link.cursor().executemany(sql, records)

    def make_keys(self, staged: Sequence[Staged], place: Callable[[Staged], str]) -> None:
        """Makes the keys of new tables, which are at `place`."""
        new = {each.table.name: each for each in staged if each.there is None}
        for each in new.values():
            if each.table.primary_key:
                names = self.dialect.names(each.table.primary_key)
                self.link.execute(f"ALTER TABLE {place(each)} ADD PRIMARY KEY ({names}){self.enforced_keys}")
        for each in new.values():
            for key in each.table.foreign_keys:
                parent = new.get(key.referenced_table)
                table = place(parent) if parent else self.dialect.quote(each.schema, key.referenced_table)
                self.link.execute(
                    f"ALTER TABLE {place(each)} ADD FOREIGN KEY ({self.dialect.names(key.columns)}) "
                    f"REFERENCES {table} ({self.dialect.names(key.referenced_columns)}){self.enforced_keys}"
                )

    def publish_all(self, staged: Sequence[Staged], mode: WriteMode) -> None:
        """Puts the tables in their places: those that are there get their rows, new ones their names."""
        there = [each for each in staged if each.there is not None]
        if there:
            with self.changing_rows():
                for each in there:
                    self.move(each, replacing=mode is WriteMode.OVERWRITE)
            self.placed += [each.table.name for each in there]
        for each in staged:
            if each.there is None:
                self.rename(each)
                self.placed.append(each.table.name)
        for each in there:
            self.drop(each)

    def rename(self, staged: Staged) -> None:
        """Gives a new table its name."""
        self.link.execute(f"ALTER TABLE {self.place(staged)} RENAME TO {self.target(staged)}")

    def move(self, staged: Staged, *, replacing: bool) -> None:
        """Moves the rows of the staging table into the table that is there.

        That the staging table is empty afterwards is how a later attempt knows that it has happened.
        """
        names = self.dialect.names(staged.columns)
        if replacing:
            self.link.execute(f"DELETE FROM {self.target(staged)} WHERE 1 = 1")
        self.link.execute(
            f"INSERT INTO {self.target(staged)} ({names}) SELECT {names} FROM {self.place(staged)}"
        )
        self.link.execute(f"DELETE FROM {self.place(staged)} WHERE 1 = 1")

    def drop(self, staged: Staged) -> None:
        """Drops the staging table if it is there."""
        self.link.execute(self.drop_sql(staged))

    def drop_sql(self, staged: Staged) -> str:
        """Returns the statement that drops the staging table if it is there."""
        return f"DROP TABLE IF EXISTS {self.place(staged)}"

    def place(self, staged: Staged) -> str:
        """Returns the staging table's name in SQL."""
        return self.dialect.quote(staged.schema, staged.name)

    def target(self, staged: Staged) -> str:
        """Returns the table's name in SQL."""
        return self.dialect.quote(staged.schema, staged.table.name)
