"""Writes tables into Hive: rows travel in statements, for nothing but SQL reaches its storage from here.

Hive has no transactions of several statements: rows that are there are replaced, or added to, by one
statement for each table.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import pyarrow as pa

from simulacra_connector.drivers.base import TableStream
from simulacra_connector.drivers.sql import Dialect, Staged, TableWriter, python_rows

__all__ = ["DIALECT", "HiveWriter"]

DIALECT = Dialect(
    name="Hive",
    types={
        pa.bool_(): "BOOLEAN",
        pa.int8(): "TINYINT",
        pa.uint8(): "SMALLINT",
        pa.int16(): "SMALLINT",
        pa.uint16(): "INT",
        pa.int32(): "INT",
        pa.uint32(): "BIGINT",
        pa.int64(): "BIGINT",
        pa.uint64(): "DECIMAL(20, 0)",
        pa.float32(): "FLOAT",
        pa.float64(): "DOUBLE",
        pa.string(): "STRING",
        pa.large_string(): "STRING",
        pa.null(): "STRING",
        pa.binary(): "BINARY",
        pa.large_binary(): "BINARY",
        pa.date32(): "DATE",
    },
    moment="TIMESTAMP",
    instant=None,
    time=None,
    quotes=("`", "`"),
    null="",
)


class HiveWriter(TableWriter):
    """Keys are left out: a reader of Hive expects none."""

    insert_rows: ClassVar[int] = 1000

    @contextmanager
    def changing_rows(self) -> Iterator[None]:
        """Is no transaction: each statement is one."""
        yield

    def create(self, staged: Staged) -> None:
        """Makes a table of Parquet files."""
        place = self.place(staged)
        if staged.there is not None:
            names = self.dialect.names(staged.columns)
            source = f"SELECT {names} FROM {self.target(staged)} WHERE 1 = 0"
            self.link.execute(f"CREATE TABLE {place} STORED AS PARQUET AS {source}")
            return
        columns = ", ".join(
            f"{self.dialect.quote(column.name)} {self.dialect.sql_type(column)}"
            for column in staged.table.stream.schema
        )
        self.link.execute(f"CREATE TABLE {place} ({columns}) STORED AS PARQUET")

    def load(self, staged: Staged, stream: TableStream) -> Iterator[int]:
        """Inserts rows as literals."""
        types = [self.dialect.sql_type(column) for column in stream.schema]
        names = self.dialect.names(staged.columns)
        count = 0
        for batch in stream.batches:
            records = python_rows(batch, database=self.dialect.name, not_a_number=True)
            for start in range(0, len(records), self.insert_rows):
                rows = ", ".join(
                    f"({', '.join(map(_literal, row, types))})"
                    for row in records[start : start + self.insert_rows]
                )
                self.link.execute(f"INSERT INTO {self.place(staged)} ({names}) VALUES {rows}")
            count += len(records)
            yield count

    def make_keys(self, staged: Sequence[Staged], place: Callable[[Staged], str]) -> None:
        """Makes none."""

    def move(self, staged: Staged, *, replacing: bool) -> None:
        """Replaces or adds rows in one statement; then empties the staging table, as a sign."""
        names = self.dialect.names(staged.columns)
        verb = "INSERT OVERWRITE TABLE" if replacing else "INSERT INTO TABLE"
        self.link.execute(f"{verb} {self.target(staged)} ({names}) SELECT {names} FROM {self.place(staged)}")
        self.placed.append(staged.table.name)
        self.link.execute(f"TRUNCATE TABLE {self.place(staged)}")


def _literal(value: Any, type: str) -> str:
    if value is None:
        return f"CAST(NULL AS {type})"
    if isinstance(value, bytes):
        return f"UNHEX('{value.hex()}')"
    text = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'" if type == "STRING" else f"CAST('{text}' AS {type})"
