"""Writes tables into Databricks: Parquet files go through a volume into staging tables.

Delta has no transactions of several statements: rows that are there are replaced, or added to, by one
statement for each table.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from simulacra_connector.drivers.base import TableStream
from simulacra_connector.drivers.sql import Catalog, Dialect, Link, Staged, TableWriter, exact_batch

__all__ = ["DIALECT", "DatabricksWriter"]

DIALECT = Dialect(
    name="Databricks",
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
    moment="TIMESTAMP_NTZ",
    instant="TIMESTAMP",
    time=None,
    quotes=("`", "`"),
    null="",
)
_FILE_ROWS, _FILE_BYTES = 2**20, 2**28


class DatabricksWriter(TableWriter):
    """Uploads files to a volume that lives as long as the writing."""

    keys_follow_names: ClassVar[bool] = False

    def __init__(self, link: Link, dialect: Dialect, catalog: Catalog, *, folder: str) -> None:
        super().__init__(link, dialect, catalog)
        self._catalog_name = str(link.parameters.config["catalog"])
        self._folder = Path(folder)

    @contextmanager
    def changing_rows(self) -> Iterator[None]:
        """Is no transaction: each statement is one."""
        yield

    def load(self, staged: Staged, stream: TableStream) -> Iterator[int]:
        """Uploads files of about a million rows, or of fewer that are wide, and inserts each."""
        volume = self.dialect.quote(self._catalog_name, staged.schema, f"{staged.name}_files")
        self.link.execute(f"CREATE VOLUME IF NOT EXISTS {volume}")
        try:
            yield from self._loaded(staged, stream)
        finally:
            self.link.execute_anyway(f"DROP VOLUME IF EXISTS {volume}")

    def _loaded(self, staged: Staged, stream: TableStream) -> Iterator[int]:
        pending: list[pa.RecordBatch] = []
        count = size = uploaded = 0
        for batch in stream.batches:
            pending.append(exact_batch(batch, database=self.dialect.name))
            count += batch.num_rows
            size += pending[-1].nbytes
            if count - uploaded >= _FILE_ROWS or size >= _FILE_BYTES:
                self._upload(staged, pending)
                pending, size, uploaded = [], 0, count
            yield count
        if pending:
            self._upload(staged, pending)

    def _upload(self, staged: Staged, batches: list[pa.RecordBatch]) -> None:
        file = self._folder / "rows.parquet"
        pq.write_table(pa.Table.from_batches(batches), file, compression="zstd")
        remote = f"/Volumes/{self._catalog_name}/{staged.schema}/{staged.name}_files/rows.parquet"
        self.link.execute(f"PUT {_literal(str(file))} INTO {_literal(remote)} OVERWRITE")
        file.unlink()
        names = self.dialect.names(staged.columns)
        self.link.execute(
            f"INSERT INTO {self.place(staged)} ({names}) "
            f"SELECT {names} FROM READ_FILES({_literal(remote)}, format => 'parquet')"
        )

    def move(self, staged: Staged, *, replacing: bool) -> None:
        """Replaces or adds rows in one statement; then empties the staging table, as a sign."""
        names = self.dialect.names(staged.columns)
        verb = "INSERT OVERWRITE" if replacing else "INSERT INTO"
        self.link.execute(f"{verb} {self.target(staged)} ({names}) SELECT {names} FROM {self.place(staged)}")
        self.placed.append(staged.table.name)
        self.link.execute(f"DELETE FROM {self.place(staged)}")

    def place(self, staged: Staged) -> str:
        """Names the catalog too."""
        return self.dialect.quote(self._catalog_name, staged.schema, staged.name)

    def target(self, staged: Staged) -> str:
        """Names the catalog too."""
        return self.dialect.quote(self._catalog_name, staged.schema, staged.table.name)


def _literal(text: Any) -> str:
    return "'" + str(text).replace("\\", "\\\\").replace("'", "\\'") + "'"
