"""Writes tables into SQL Server: staging, bulk load and swap are one transaction."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import pyarrow as pa
from pytds import tds_types
from pytds.tds_base import Column

from simulacra_connector.drivers.base import TableStream, WriteMode
from simulacra_connector.drivers.mssql.catalog import literal
from simulacra_connector.drivers.sql import Staged, TableWriter, python_rows

__all__ = ["MssqlWriter"]

_BULK: dict[pa.DataType, Any] = {
    pa.bool_(): tds_types.BitType(),
    pa.int8(): tds_types.SmallIntType(),
    pa.uint8(): tds_types.TinyIntType(),
    pa.int16(): tds_types.SmallIntType(),
    pa.uint16(): tds_types.IntType(),
    pa.int32(): tds_types.IntType(),
    pa.uint32(): tds_types.BigIntType(),
    pa.int64(): tds_types.BigIntType(),
    pa.uint64(): tds_types.DecimalType(20, 0),
    pa.float32(): tds_types.RealType(),
    pa.float64(): tds_types.FloatType(),
    pa.binary(): tds_types.VarBinaryMaxType(),
    pa.large_binary(): tds_types.VarBinaryMaxType(),
    pa.date32(): tds_types.DateType(),
}
_REFERENCES = (
    "SELECT f.name, s.name, o.name FROM sys.foreign_keys f "
    "JOIN sys.objects o ON o.object_id = f.parent_object_id "
    "JOIN sys.schemas s ON s.schema_id = o.schema_id "
    "WHERE f.is_disabled = 0 AND (f.referenced_object_id = OBJECT_ID({table}) "
    "OR f.parent_object_id = OBJECT_ID({table}))"
)
_IDENTITY = "SELECT name FROM sys.identity_columns WHERE object_id = OBJECT_ID({table})"


class MssqlWriter(TableWriter):
    """Writes in one transaction, tables too: what fails leaves nothing behind."""

    rolls_back: ClassVar[bool] = True

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Begins and ends the transaction; an error in it ends it."""
        self.link.execute("SET XACT_ABORT ON")
        self.link.execute("BEGIN TRANSACTION")
        try:
            yield
        except BaseException:
            self.link.execute_anyway("IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION")
            raise
        self.link.execute("COMMIT TRANSACTION")

    @contextmanager
    def changing_rows(self) -> Iterator[None]:
        """Is in the transaction already."""
        yield

    def create(self, staged: Staged) -> None:
        """Copies the types of the table that is there; of two tables together no identity is inherited."""
        if staged.there is None:
            super().create(staged)
            return
        columns = self.dialect.names(staged.columns)
        target = self.target(staged)
        self.link.execute(
            f"SELECT {columns} INTO {self.place(staged)} FROM {target} WHERE 1 = 0 "
            f"UNION ALL SELECT {columns} FROM {target} WHERE 1 = 0"
        )

    def load(self, staged: Staged, stream: TableStream) -> Iterator[int]:
        """Loads in bulk, a batch at a time."""
        columns = [Column(field.name, _bulk_type(field.type)) for field in stream.schema]
        count = 0
        for batch in stream.batches:
            records = python_rows(batch, database=self.dialect.name)
            if records:
                with self.link.bounded(self.link.options.read_timeout), self.link.translated():
                    self.link.cursor().copy_to(
                        table_or_view=staged.name,
                        schema=staged.schema,
                        columns=columns,
                        data=records,
                        keep_nulls=True,
                        tablock=True,
                    )
            count += len(records)
            yield count

    def publish_all(self, staged: Sequence[Staged], mode: WriteMode) -> None:
        """Suspends the foreign keys that are in the way, and has them checked at the end."""
        keys: dict[tuple[str, str, str], None] = {}
        if mode is WriteMode.OVERWRITE:
            for each in staged:
                if each.there is not None:
                    rows = self.link.fetch(_REFERENCES.format(table=literal(self.target(each))))
                    keys |= dict.fromkeys((str(a), str(b), str(c)) for a, b, c in rows)
        for name, schema, table in keys:
            self._alter(schema, table, f"NOCHECK CONSTRAINT {self.dialect.quote(name)}")
        super().publish_all(staged, mode)
        for name, schema, table in keys:
            self._alter(schema, table, f"WITH CHECK CHECK CONSTRAINT {self.dialect.quote(name)}")

    def rename(self, staged: Staged) -> None:
        """Has a procedure for it, whose second parameter is not quoted."""
        self.link.execute(
            f"EXEC sp_rename {literal(self.place(staged))}, {literal(staged.table.name)}, N'OBJECT'"
        )

    def move(self, staged: Staged, *, replacing: bool) -> None:
        """Lets values into an identity column, as the rows bring their own."""
        target = self.target(staged)
        identity = self.link.fetch(_IDENTITY.format(table=literal(target)))
        brought = any(name in staged.columns for (name,) in identity)
        if brought:
            self.link.execute(f"SET IDENTITY_INSERT {target} ON")
        super().move(staged, replacing=replacing)
        if brought:
            self.link.execute(f"SET IDENTITY_INSERT {target} OFF")

    def _alter(self, schema: str, table: str, change: str) -> None:
        self.link.execute(f"ALTER TABLE {self.dialect.quote(schema, table)} {change}")


def _bulk_type(type: Any) -> Any:
    if pa.types.is_dictionary(type):
        type = type.value_type
    if type in _BULK:
        return _BULK[type]
    if pa.types.is_decimal(type):
        return tds_types.DecimalType(type.precision, type.scale)
    if pa.types.is_timestamp(type):
        kind = tds_types.DateTimeOffsetType if type.tz else tds_types.DateTime2Type
        return kind(precision=6)
    if pa.types.is_time(type):
        return tds_types.TimeType(precision=6)
    return tds_types.NVarCharMaxType()
