"""One session with a bucket: folders of files are tables, read part by part and written as Parquet parts."""

import shutil
import tempfile
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, ClassVar, Self

import pyarrow as pa
import pyarrow.fs as pafs

from simulacra.domain import ColumnSchema, TableSchema
from simulacra.errors import (
    InvalidArgument,
    PermissionDenied,
    SourceAuthenticationFailed,
    SourceUnreachable,
    UnsupportedData,
)
from simulacra_connector.drivers.base import (
    ReadOptions,
    SessionOptions,
    TableStream,
    WriteMode,
    choose_columns,
    location_not_found,
)
from simulacra_connector.drivers.buckets.paths import is_pattern, matches, object_path, pattern_root
from simulacra_connector.drivers.buckets.writing import FolderWriter
from simulacra_connector.drivers.delivery import DeliveredTable, Delivery
from simulacra_connector.drivers.uploads import encoding_of
from simulacra_connector.formats import FileContent, FileFormat, FileLimits, format_of, open_file
from simulacra_connector.formats.columnar import ColumnarFile, FileAt
from simulacra_connector.sampling import select_rows
from simulacra_connector.types import Connection

__all__ = ["BucketSession"]

OpenFileSystem = Callable[[Connection, SessionOptions, Path], AbstractContextManager[pafs.FileSystem]]

# The user's own files: large ones are no attack, but nothing may fill the disk without end.
_LIMITS = FileLimits(max_expanded_bytes=2**40, max_expansion=10_000)
_REFUSED = (
    "forbidden",
    "access denied",
    "accessdenied",
    "access_denied",
    "invalidaccesskey",
    "invalid_access_key",
    "signaturedoesnotmatch",
    "authentication",
    "authorization",
    "permission denied",
)
_MISSING = ("no_such_bucket", "nosuchbucket", "no_such_key", "nosuchkey", "not found", "notfound")
_IGNORED = ("_", ".")


class BucketSession:
    """A session with a bucket; see `Session`. A kind of storage is a subclass that opens its file system."""

    open_filesystem: OpenFileSystem
    opens_late: ClassVar[bool] = False
    """Whether the file system opens a file only when it is read."""

    def __init__(self, connection: Connection, options: SessionOptions) -> None:
        self._connection = connection
        self._options = options
        self._stack = ExitStack()
        self._fs: pafs.FileSystem
        self._scratch: Path

    def __enter__(self) -> Self:
        self._scratch = Path(
            self._stack.enter_context(tempfile.TemporaryDirectory(prefix="simulacra-bucket-"))
        )
        opened = type(self).open_filesystem(self._connection, self._options, self._scratch)
        try:
            with self._errors():
                self._fs = self._stack.enter_context(opened)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def at(self, path: str) -> pafs.FileSystem:
        """Returns what reaches a path."""
        del path
        return self._fs

    def test(self) -> str:
        """Lists the buckets."""
        self.locations("")
        return ""

    def locations(self, prefix: str) -> list[str]:
        """Lists buckets, or the folders (with a slash at the end) and files of a folder."""
        path = object_path(prefix)
        with self._errors():
            if path and self.at(path).get_file_info(path).type == pafs.FileType.File:
                return [path]
            return sorted(self.children(path))

    def children(self, path: str) -> Sequence[str]:
        """Lists the buckets, or what is in a folder."""
        infos = self.at(path).get_file_info(pafs.FileSelector(path, allow_not_found=True))
        return [
            f"{info.path}/" if path and info.type == pafs.FileType.Directory else info.path for info in infos
        ]

    def schema(self, location: str) -> TableSchema:
        """Describes the table of a file or folder; types of text files are found over all rows."""
        parts = self._open(location, ())
        columns = [
            ColumnSchema(
                name=field.name,
                original_data_type=str(field.type),
                default_model_encoding_type=encoding_of(field.type),
            )
            for field in _common_schema(location, parts)
        ]
        rows = [part.content.rows for part in parts]
        total = None if None in rows else sum(count or 0 for count in rows)
        return TableSchema(location=location, columns=columns, total_rows=total)

    @contextmanager
    def read(self, location: str, options: ReadOptions) -> Iterator[TableStream]:
        """Reads a file, the files of a folder, or those that a pattern with * matches, as one table."""
        parts = self._open(location, options.columns)
        whole = _common_schema(location, parts)
        names = choose_columns(location, whole.names, options.columns)
        schema = pa.schema([whole.field(name) for name in names])
        total = sum(part.content.rows or 0 for part in parts)
        batches = select_rows(
            self._batches(parts, schema), total=total, wanted=options.max_rows, seed=options.seed
        )
        yield TableStream(schema, batches, total)

    def query(self, statement: str, max_rows: int | None) -> AbstractContextManager[TableStream]:
        """Is only for databases."""
        raise InvalidArgument("a bucket cannot be queried with SQL; read a location instead")

    def write(self, location: str, stream: TableStream, mode: WriteMode) -> int:
        """Writes a folder of Parquet parts: staged below it, then put in place."""
        folder = object_path(location)
        if "/" not in folder:
            raise InvalidArgument.of("location", "give bucket/path; a table is a folder in a bucket")
        tag = uuid.uuid4().hex[:12]
        with self._errors(location):
            writer = self._writer(tag, folder)
            writer.require_bucket(folder)
            writer.require_free([folder], mode)
            try:
                *_, (names, rows) = writer.stage("table", stream)
                writer.copy({"table": names}, {"table": folder})
                if mode is WriteMode.OVERWRITE:
                    writer.remove_others([folder])
            finally:
                writer.clear()
        return rows

    def deliver(self, delivery: Delivery) -> Iterator[DeliveredTable]:
        """Writes a folder for each table; what is staged is noted, and put in place by whoever comes next."""
        journal, mode = delivery.journal, delivery.mode
        folders = {table.name: self.table_at(delivery.location, table.name) for table in delivery.tables}
        note = dict(journal.load() or {})
        with self._errors(delivery.location):
            writer = self._writer(delivery.tag, object_path(delivery.location))
            if not note.get("done"):
                if "parts" not in note:
                    note = yield from self._stage(writer, delivery, folders)
                    journal.save(note)
                try:
                    writer.copy(note["parts"], folders)
                except BaseException:
                    journal.save({})
                    with suppress(OSError, pa.ArrowException):
                        writer.clear()
                    raise
                if mode is WriteMode.OVERWRITE:
                    writer.remove_others(folders.values())
                note["done"] = True
                journal.save(note)
            writer.clear()
        for name, count in note["rows"].items():
            yield DeliveredTable(name, folders[name], count, done=True)

    def table_at(self, location: str, name: str) -> str:
        """Returns the folder of a table."""
        return object_path(f"{object_path(location)}/{name.replace('/', '_')}")

    def try_out(self, location: str, names: Sequence[str], mode: WriteMode) -> None:
        """Looks for the bucket and the tables' folders, and writes a file that it takes back."""
        folder = object_path(location)
        with self._errors(location):
            writer = self._writer(uuid.uuid4().hex[:12], folder)
            writer.require_bucket(folder)
            writer.require_free([self.table_at(location, name) for name in names], mode)
        try:
            with self._errors(location):
                writer.require_writable(folder)
        except (PermissionDenied, SourceAuthenticationFailed) as error:
            raise PermissionDenied(
                f"nothing can be written to {location}; let the connector's user write and delete there, or "
                f"give another location: {error.message}",
                location=location,
            ) from None

    def _stage(
        self, writer: FolderWriter, delivery: Delivery, folders: Mapping[str, str]
    ) -> Generator[DeliveredTable, None, dict[str, Any]]:
        writer.require_bucket(object_path(delivery.location))
        writer.clear()
        writer.require_free(list(folders.values()), delivery.mode)
        parts: dict[str, list[str]] = {}
        rows: dict[str, int] = {}
        try:
            for table in delivery.tables:
                for names, count in writer.stage(table.name, table.stream):
                    parts[table.name], rows[table.name] = list(names), count
                    yield DeliveredTable(table.name, folders[table.name], count)
        except BaseException:
            with suppress(OSError, pa.ArrowException):
                writer.clear()
            raise
        return {"parts": parts, "rows": rows}

    def _writer(self, tag: str, folder: str) -> FolderWriter:
        return FolderWriter(
            self.at(folder),
            tag=tag,
            staging=f"{folder}/_staging-{tag}",
            visible=self._visible,
            check=self._options.cancellation.check,
        )

    def _visible(self, folder: str) -> Sequence[str]:
        """Returns the files of a folder, without what other programs keep there under _ or a dot."""
        selector = pafs.FileSelector(folder, allow_not_found=True, recursive=True)
        infos = self.at(folder).get_file_info(selector)
        return sorted(
            info.path
            for info in infos
            if info.type == pafs.FileType.File
            and not any(
                part.startswith(_IGNORED) for part in PurePosixPath(info.path).relative_to(folder).parts
            )
        )

    def _files(self, location: str) -> Sequence[str]:
        path = object_path(location)
        if is_pattern(path.partition("/")[0]):
            raise InvalidArgument.of("location", f"{location!r} is a pattern of buckets; name the bucket")
        with self._errors(location):
            # A name may have the signs of patterns in it; what is there by this very name is meant.
            kind = self.at(path).get_file_info(path).type if path else pafs.FileType.NotFound
            if kind == pafs.FileType.File:
                found = [path]
            elif kind == pafs.FileType.Directory or not is_pattern(path):
                found = list(self._visible(path)) if path else []
            else:
                found = [file for file in self._visible(pattern_root(path)) if matches(file, path)]
        if not found:
            raise location_not_found(location, "the format is bucket/path of a file or a folder with files")
        return found

    def _open(self, location: str, columns: Sequence[str]) -> "list[_Part]":
        files = self._files(location)
        formats = {format_of(file) for file in files}
        if len(formats) > 1:
            raise UnsupportedData(
                f"{location} has files of several formats ({', '.join(sorted(formats))}); "
                "name those of one with a pattern"
            )
        with self._errors(location):
            if formats == {FileFormat.PARQUET}:
                return [self._remote(file, columns) for file in files]
            return [self._copy(file, index) for index, file in enumerate(files)]

    def _remote(self, path: str, columns: Sequence[str]) -> "_Part":
        """Opens a Parquet file where it is: only its footer, and the wanted columns later, travel."""
        source: pa.NativeFile | FileAt = FileAt(self.at(path), path)
        if not self.opens_late:
            source = self._stack.enter_context(self.at(path).open_input_file(path))
        file = ColumnarFile(source, file_name=path, limits=_LIMITS, parquet=True)
        known = [name for name in columns if name in file.schema.names]
        return _Part(path, FileContent(file.schema, file.batches(known or None), file.rows))

    def _copy(self, path: str, index: int) -> "_Part":
        """Copies a file here: the types of text are found by reading it twice."""
        folder = self._scratch / str(index)
        scratch = folder / "scratch"
        scratch.mkdir(parents=True)
        local = folder / "file"
        stream = self.at(path).open_input_stream(path, compression=None)
        with stream as source, local.open("wb") as target:
            while block := source.read(2**22):
                self._options.cancellation.check()
                target.write(block)
        name = PurePosixPath(path).name
        return _Part(path, open_file(local, file_name=name, limits=_LIMITS, scratch=scratch), folder)

    def _batches(self, parts: "Sequence[_Part]", schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        for part in parts:
            with self._errors(part.path):
                for batch in part.content.batches:
                    self._options.cancellation.check()
                    yield batch.select(schema.names).cast(schema)
            if part.folder is not None:
                shutil.rmtree(part.folder)

    @contextmanager
    def _errors(self, location: str = "") -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise location_not_found(location, "the bucket or file does not exist") from error
        except (pa.ArrowException, OSError) as error:
            text = str(error)
            for secret in filter(lambda secret: len(secret) > 3, self._connection.secrets.values()):
                text = text.replace(secret, "***")
            words = text.lower()
            name = str(self._connection.type)
            if any(word in words for word in _REFUSED):
                if isinstance(error, PermissionError) and location:
                    raise PermissionDenied(
                        f"{name} does not allow this at {location}: {_short(text)}"
                    ) from None
                raise SourceAuthenticationFailed(f"{name} refuses the credentials: {_short(text)}") from None
            if any(word in words for word in _MISSING):
                raise location_not_found(
                    location, f"the bucket or file does not exist ({_short(text)})"
                ) from None
            raise SourceUnreachable(f"{name} does not answer: {_short(text)}") from None


@dataclass(frozen=True, slots=True)
class _Part:
    """One file of a table; `folder` holds its copy, if there is one."""

    path: str
    content: FileContent
    folder: Path | None = None


def _common_schema(location: str, parts: Sequence[_Part]) -> pa.Schema:
    first = parts[0].content.schema
    for part in parts[1:]:
        schema = part.content.schema
        if set(schema.names) != set(first.names):
            raise UnsupportedData(f"{part.path} has other columns than {parts[0].path}; read them one by one")
        for field in first:
            other: Any = schema.field(field.name).type
            if other != field.type:
                raise UnsupportedData(
                    f'column "{field.name}" is {field.type} in {parts[0].path} and {other} in {part.path}',
                    column=field.name,
                )
    return first


def _short(text: str) -> str:
    return " ".join(text.split())[:300]
