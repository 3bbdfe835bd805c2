"""Reads Parquet and Feather (Arrow IPC) files, each column as one of the types that the platform stores."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.feather
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from simulacra.artifacts import rows_at_once
from simulacra.errors import UnsupportedData
from simulacra.frames import unnamed_index
from simulacra_connector.formats.limits import FileLimits, bounded, check_names, corrupt, too_large

__all__ = ["ColumnarFile", "FileAt", "canonical_type"]

_BATCH_ROWS = 16_384
# How much of each column is read at once of a file that is far away.
_FAR = ds.ParquetFragmentScanOptions(use_buffered_stream=True, buffer_size=2**21, pre_buffer=False)
_OLD_FEATHER = b"FEA1"
_FRAME_TYPE = b"simulacra:frame_type"
_SIMPLER: dict[pa.DataType, pa.DataType] = {
    pa.null(): pa.string(),
    pa.large_string(): pa.string(),
    pa.string_view(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.binary_view(): pa.binary(),
    pa.float16(): pa.float32(),
    pa.date64(): pa.date32(),
}


def canonical_type(field: "pa.Field[Any]") -> Any:
    """Returns the type that a column is stored with: the same values, fewer physical forms.

    Raises:
        UnsupportedData: If Parquet cannot hold the type.
    """
    type: Any = field.type
    if isinstance(type, pa.BaseExtensionType):
        type = pa.string() if type.extension_name == "arrow.uuid" else type.storage_type
    if pa.types.is_dictionary(type) or pa.types.is_run_end_encoded(type):
        type = type.value_type
    if pa.types.is_decimal32(type) or pa.types.is_decimal64(type):
        type = pa.decimal128(type.precision, type.scale)
    type = _SIMPLER.get(type, type)
    if pa.types.is_interval(type) or pa.types.is_union(type) or pa.types.is_list_view(type):
        raise UnsupportedData(
            f'column "{field.name}" has type {type}, which cannot be stored; convert it to text or numbers',
            column=field.name,
        )
    return type


def frame_type(field: "pa.Field[Any]") -> dict[bytes, bytes] | None:
    """Returns the part of a column's metadata that says of which type it was in a client's frame."""
    name = (field.metadata or {}).get(_FRAME_TYPE)
    return {_FRAME_TYPE: name} if name else None


@dataclass(frozen=True, slots=True)
class FileAt:
    """A Parquet file at a storage whose files Arrow opens only when they are read.

    As an open file, it would hold up all of Python while the storage is asked for it.
    """

    filesystem: pafs.FileSystem
    path: str

    def size(self) -> int:
        """Asks for the number of bytes."""
        found: int | None = self.filesystem.get_file_info(self.path).size
        return found or 0


class ColumnarFile:
    """A file that brings its own schema, here or, Parquet only, where it is. Its batches are validated."""

    def __init__(
        self, source: "Path | pa.NativeFile | FileAt", *, file_name: str, limits: FileLimits, parquet: bool
    ) -> None:
        self._file_name = file_name
        self._limit = limits.allowed_bytes(
            source.stat().st_size if isinstance(source, Path) else source.size()
        )
        self._stack = ExitStack()
        self.rows: int | None = None
        self._read: Callable[[Sequence[str] | None], Iterator[pa.RecordBatch]]
        try:
            schema = self._open_parquet(source) if parquet else self._open_arrow(source)
        except (pa.ArrowException, OSError, EOFError) as error:
            raise self._corrupt(error) from error
        labels = unnamed_index(schema)
        fields = [field for field in schema if field.name not in labels]
        check_names([field.name for field in fields], file_name, limits)
        self.schema = pa.schema(
            [pa.field(field.name, canonical_type(field), metadata=frame_type(field)) for field in fields]
        )

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Reads the rows, of all columns or some."""
        schema = self.schema if columns is None else pa.schema([self.schema.field(name) for name in columns])
        with self._stack:
            try:
                for batch in bounded(self._read(columns), file_name=self._file_name, limit=self._limit):
                    batch.validate(full=True)
                    arrays = [_converted(batch.column(field.name), field.type) for field in schema]
                    yield pa.RecordBatch.from_arrays(arrays, schema=schema)
            except (pa.ArrowException, OSError, EOFError) as error:
                raise self._corrupt(error) from error

    def _open_parquet(self, source: Any) -> pa.Schema:
        if isinstance(source, FileAt):
            return self._open_fragment(source)
        file = self._stack.enter_context(pq.ParquetFile(source))
        self._check_metadata(file.metadata)
        rows = rows_at_once(file.metadata, _BATCH_ROWS)
        self._read = lambda columns: file.iter_batches(batch_size=rows, columns=columns)
        return file.schema_arrow

    def _open_fragment(self, source: FileAt) -> pa.Schema:
        parquet = ds.ParquetFileFormat(default_fragment_scan_options=_FAR)
        fragment: Any = parquet.make_fragment(source.path, filesystem=source.filesystem)
        fragment.ensure_complete_metadata()
        self._check_metadata(fragment.metadata)
        rows = rows_at_once(fragment.metadata, _BATCH_ROWS)
        self._read = lambda columns: fragment.to_batches(
            columns=columns, batch_size=rows, batch_readahead=1, fragment_readahead=1
        )
        schema: pa.Schema = fragment.physical_schema
        return schema

    def _check_metadata(self, metadata: Any) -> None:
        groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
        if sum(group.total_byte_size for group in groups) > self._limit:
            raise too_large(self._file_name, self._limit)
        self.rows = metadata.num_rows

    def _open_arrow(self, path: Any) -> pa.Schema:
        with path.open("rb") as file:
            old = file.read(len(_OLD_FEATHER)) == _OLD_FEATHER
        if old:
            table = pyarrow.feather.read_table(path, memory_map=False)
            batches = table.to_batches(max_chunksize=_BATCH_ROWS)
            self._read = lambda _columns: iter(batches)
            self.rows = table.num_rows
            return table.schema
        mapped = self._stack.enter_context(pa.memory_map(str(path)))
        reader = self._stack.enter_context(pa.ipc.open_file(mapped))
        indices = range(reader.num_record_batches)
        self.rows = sum(reader.get_batch(index).num_rows for index in indices)
        self._read = lambda _columns: (reader.get_batch(index) for index in indices)
        return reader.schema

    def _corrupt(self, error: Exception) -> Exception:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return corrupt(self._file_name, reason.rstrip("."))


def _converted(array: Any, type: pa.DataType) -> Any:
    if array.type == type:
        return array
    if isinstance(array, pa.ExtensionArray):
        if array.type.extension_name == "arrow.uuid":
            values: list[Any] = [value.as_py() for value in array]
            return pa.array([None if value is None else str(value) for value in values], pa.string())
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.cast(type)
