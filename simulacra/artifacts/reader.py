"""Reading an artifact: nothing is handed out before its sha256 was found right."""

import contextlib
import hashlib
import io
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from simulacra.artifacts.manifest import ArtifactManifest, FileEntry
from simulacra.artifacts.writer import disk_full_mapped
from simulacra.errors import ArtifactNotFound, ChecksumMismatch, UnsupportedData

__all__ = ["Artifact", "rows_at_once"]

_BLOCK = 1 << 20
_IN_MEMORY = 32 << 20
_BATCH_ROWS = 1 << 16
_BATCH_BYTES = 1 << 26


def rows_at_once(metadata: pq.FileMetaData, most: int) -> int:
    """Returns how many rows of a Parquet file to read at once: fewer than `most` where values are long."""
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    widest = max((group.total_byte_size / max(group.num_rows, 1) for group in groups), default=0)
    return max(1, min(most, int(_BATCH_BYTES / max(widest, 1))))


class Artifact:
    """A published artifact."""

    def __init__(
        self, filesystem: pafs.FileSystem, name: str, manifest: ArtifactManifest, *, is_local: bool
    ) -> None:
        self.name = name
        self.manifest = manifest
        self._filesystem = filesystem
        self._is_local = is_local

    @property
    def files(self) -> Sequence[str]:
        """The names of its files, in order."""
        return sorted(self.manifest.files)

    @contextlib.contextmanager
    def open_file(self, file: str) -> Iterator[BinaryIO]:
        """Opens a file for reading anywhere in it.

        Raises:
            ArtifactNotFound: The artifact has no such file, or it is gone.
            ChecksumMismatch: The file is not what was written.
        """
        with self._verified(file) as source:
            yield source

    def read_bytes(self, file: str) -> bytes:
        """Reads a whole file; raises what `open_file` does."""
        with self._verified(file) as source:
            return source.read()

    def copy_to(self, folder: Path) -> None:
        """Copies all files into a local folder; raises what `open_file` does."""
        for file in self.files:
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            with disk_full_mapped(), target.open("wb") as sink:
                self._copy(file, sink)

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of a table."""
        if self.manifest.schema is None:
            raise UnsupportedData(f"artifact {self.name!r} is not a table", artifact=self.name)
        return pa.ipc.read_schema(pa.py_buffer(self.manifest.schema))

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Reads a table's rows in order, a batch at a time; raises what `open_file` does."""
        schema = self._selected(columns)
        for file in self.files:
            with self._verified(file) as source, pq.ParquetFile(source) as parquet:
                rows = rows_at_once(parquet.metadata, _BATCH_ROWS)
                for batch in parquet.iter_batches(batch_size=rows, columns=schema.names):
                    yield batch.cast(schema)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Reads a whole table, or some of its columns; raises what `open_file` does."""
        schema = self._selected(columns)
        parts = []
        for file in self.files:
            with self._verified(file) as source:
                parts.append(pq.read_table(source, columns=schema.names).cast(schema))
        return pa.concat_tables(parts) if parts else schema.empty_table()

    def _selected(self, columns: Sequence[str] | None) -> pa.Schema:
        schema = self.schema
        return schema if columns is None else pa.schema([schema.field(name) for name in columns])

    @contextlib.contextmanager
    def _verified(self, file: str) -> Iterator[BinaryIO]:
        """Opens a file of checked bytes: from memory if small, from the disk, or from a local copy."""
        entry = self._entry(file)
        if entry.size <= _IN_MEMORY:
            buffer: BinaryIO = io.BytesIO()
        elif self._is_local:
            self._copy(file, None)
            with self._filesystem.open_input_file(f"{self.name}/{entry.path}") as source:
                yield cast(BinaryIO, source)
            return
        else:
            buffer = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - closed below
        with buffer:
            with disk_full_mapped():
                self._copy(file, buffer)
            buffer.seek(0)
            yield buffer

    def _copy(self, file: str, sink: BinaryIO | None) -> None:
        entry = self._entry(file)
        digest = hashlib.sha256()
        try:
            with self._filesystem.open_input_stream(f"{self.name}/{entry.path}", compression=None) as source:
                while block := source.read(_BLOCK):
                    digest.update(block)
                    if sink is not None:
                        sink.write(block)
        except FileNotFoundError as error:
            raise ArtifactNotFound(
                f"file {file!r} of artifact {self.name!r} is gone", artifact=self.name
            ) from error
        if digest.hexdigest() != entry.sha256:
            raise ChecksumMismatch(f"file {file!r} of artifact {self.name!r} is damaged", artifact=self.name)

    def _entry(self, file: str) -> FileEntry:
        if file not in self.manifest.files:
            raise ArtifactNotFound(f"artifact {self.name!r} has no file {file!r}", artifact=self.name)
        return self.manifest.files[file]
