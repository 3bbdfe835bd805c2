"""Uploaded files: one table each, read from the artifact that the upload was made into."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Self

import pyarrow as pa

from simulacra.domain import ColumnSchema, ModelEncodingType, TableSchema
from simulacra.errors import InvalidArgument, WrongState
from simulacra_connector.drivers.base import (
    ReadOptions,
    SessionOptions,
    TableStream,
    WriteMode,
    choose_columns,
    location_not_found,
)
from simulacra_connector.sampling import select_rows
from simulacra_connector.types import Connection

__all__ = ["UploadSession", "encoding_of"]


def encoding_of(type: pa.DataType) -> ModelEncodingType:
    """Returns the encoding that AUTO chooses for an Arrow type."""
    if pa.types.is_integer(type) or pa.types.is_floating(type) or pa.types.is_decimal(type):
        return ModelEncodingType.TABULAR_NUMERIC_AUTO
    if pa.types.is_date(type) or pa.types.is_timestamp(type):
        return ModelEncodingType.TABULAR_DATETIME
    return ModelEncodingType.TABULAR_CATEGORICAL


class UploadSession:
    """A session with an uploaded file; see `Session`."""

    def __init__(self, connection: Connection, options: SessionOptions) -> None:
        if connection.upload is None or options.artifacts is None:
            raise TypeError("an upload's session needs its file and the artifact store")
        self._file = connection.upload
        self._artifact = options.artifacts.open(self._file.artifact)
        self._cancellation = options.cancellation

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        pass

    def test(self) -> str:
        """Has nothing to do: the artifact was found."""
        return ""

    def locations(self, prefix: str) -> list[str]:
        """Lists the file's name."""
        return [self._file.file_name] if self._file.file_name.startswith(prefix) else []

    def schema(self, location: str) -> TableSchema:
        """Describes the file's table."""
        self._check(location)
        columns = [
            ColumnSchema(
                name=field.name,
                original_data_type=str(field.type),
                default_model_encoding_type=encoding_of(field.type),
            )
            for field in self._artifact.schema
        ]
        return TableSchema(location=location, columns=columns, total_rows=self._artifact.manifest.rows)

    @contextmanager
    def read(self, location: str, options: ReadOptions) -> Iterator[TableStream]:
        """Reads the file's rows."""
        self._check(location)
        schema = self._artifact.schema
        names = choose_columns(location or self._file.file_name, schema.names, options.columns)
        total = self._artifact.manifest.rows or 0
        batches = select_rows(
            self._checked(self._artifact.batches(names)),
            total=total,
            wanted=options.max_rows,
            seed=options.seed,
        )
        yield TableStream(pa.schema([schema.field(name) for name in names]), batches, total)

    def query(self, statement: str, max_rows: int | None) -> AbstractContextManager[TableStream]:
        """Is only for databases."""
        raise InvalidArgument("an uploaded file cannot be queried with SQL; read its rows instead")

    def write(self, location: str, stream: TableStream, mode: WriteMode) -> int:
        """Is refused: an upload never changes."""
        raise WrongState("an uploaded file cannot be written to; use a database or bucket as destination")

    def _check(self, location: str) -> None:
        if location not in ("", self._file.file_name):
            raise location_not_found(location, f'an upload has one location, "{self._file.file_name}"')

    def _checked(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            self._cancellation.check()
            yield batch
