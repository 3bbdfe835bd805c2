"""Writes tables into a bucket as folders of Parquet parts: staged aside first, then put in place.

A storage has no transactions. The new parts, whose names no file has, are copied into their folders, and only
when all are there the old files go; a reader in between may see both. A failure before that point takes the
copies back; one after it is made good by the next attempt.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from simulacra.errors import InvalidArgument
from simulacra_connector.drivers.base import TableStream, WriteMode, location_not_found
from simulacra_connector.drivers.delivery import already_there
from simulacra_connector.tables import row_groups

__all__ = ["FolderWriter"]

_PART_ROWS = 2**20
_PART_BYTES = 2**31
"""A part is copied into its place at once, which S3 does up to 5 GiB."""


class FolderWriter:
    """Writes folders under one tag.

    Args:
        filesystem: The storage.
        tag: Names the attempts at one write; part of the files' names.
        staging: The folder to stage in.
        visible: Lists the files of a folder.
        check: Raises when the call is canceled.
    """

    def __init__(
        self,
        filesystem: pafs.FileSystem,
        *,
        tag: str,
        staging: str,
        visible: Callable[[str], Sequence[str]],
        check: Callable[[], None],
    ) -> None:
        self._fs = filesystem
        self._tag = tag
        self._staging = staging
        self._visible = visible
        self._check = check

    def require_bucket(self, folder: str) -> None:
        """Raises LocationNotFound if the folder's bucket is not there; some storages would make one."""
        bucket = folder.partition("/")[0]
        found = pafs.FileType.Unknown
        with suppress(OSError):  # who may write need not be one who may look
            found = self._fs.get_file_info(bucket).type
        if found is pafs.FileType.NotFound:
            raise location_not_found(
                folder, f'there is no bucket or container "{bucket}"; make it first, or give another one'
            )

    def require_writable(self, folder: str) -> None:
        """Writes a file of one byte to a folder and takes it back; the storage's error says if it may not."""
        steps = folder.split("/")
        above = ["/".join(steps[: depth + 1]) for depth in range(1, len(steps))]
        kinds = {info.path: info.type for info in self._fs.get_file_info(above)}
        if files := [path for path, kind in kinds.items() if kind is pafs.FileType.File]:
            raise InvalidArgument.of("location", f"{files[0]} is a file; give a folder of a bucket")
        new = next((path for path, kind in kinds.items() if kind is pafs.FileType.NotFound), None)
        path = f"{folder}/_check-{self._tag}"
        with self._fs.open_output_stream(path) as sink:
            sink.write(b"?")
        self._fs.delete_file(path)
        if new is not None:
            self._remove_empty(new)

    def _remove_empty(self, folder: str) -> None:
        """Removes the empty folders that some storages leave where the last file went."""
        selector = pafs.FileSelector(folder, allow_not_found=True, recursive=True)
        infos = [self._fs.get_file_info(folder), *self._fs.get_file_info(selector)]
        if all(info.type is pafs.FileType.Directory for info in infos):
            self._fs.delete_dir(folder)

    def require_free(self, folders: Sequence[str], mode: WriteMode) -> None:
        """Raises AlreadyExists if a folder has files and may neither be replaced nor added to."""
        if mode is WriteMode.FAIL:
            for folder in folders:
                if self._foreign(folder):
                    raise already_there(folder)

    def stage(self, name: str, stream: TableStream) -> Iterator[tuple[Sequence[str], int]]:
        """Writes a table's parts aside; yields the names of the parts, and the rows in them so far."""
        folder = self._folder(name)
        self._fs.create_dir(folder, recursive=True)
        names: list[str] = []
        rows = first_row = 0
        with ExitStack() as part:
            sink: pa.NativeFile | None = None
            for table in row_groups(stream.batches, stream.schema):
                self._check()
                if sink is None or rows - first_row >= _PART_ROWS or sink.tell() >= _PART_BYTES:
                    part.close()
                    names.append(self._part(len(names)))
                    sink = part.enter_context(self._fs.open_output_stream(f"{folder}/{names[-1]}"))
                    parquet = part.enter_context(pq.ParquetWriter(sink, stream.schema, compression="zstd"))
                    first_row = rows
                parquet.write_table(table)
                rows += table.num_rows
                yield names, rows
        if not names:
            names.append(self._part(0))
            with self._fs.open_output_stream(f"{folder}/{names[0]}") as sink:
                pq.write_table(stream.schema.empty_table(), sink)
        yield names, rows

    def copy(self, parts: Mapping[str, Sequence[str]], folders: Mapping[str, str]) -> None:
        """Copies staged parts into their folders; a failure takes the copies back."""
        copied: list[str] = []
        try:
            for name, files in parts.items():
                for file in files:
                    self._check()
                    copied.append(f"{folders[name]}/{file}")
                    self._fs.copy_file(f"{self._folder(name)}/{file}", copied[-1])  # within the storage
        except BaseException:
            for path in copied:
                with suppress(OSError, pa.ArrowException):
                    self._fs.delete_file(path)
            raise

    def remove_others(self, folders: Iterable[str]) -> None:
        """Deletes what folders hold besides the new parts."""
        for folder in folders:
            for path in self._foreign(folder):
                self._fs.delete_file(path)

    def clear(self) -> None:
        """Deletes what is staged."""
        if self._fs.get_file_info(self._staging).type == pafs.FileType.Directory:
            self._fs.delete_dir(self._staging)

    def _folder(self, name: str) -> str:
        return f"{self._staging}/{name.replace('/', '_')}"

    def _part(self, number: int) -> str:
        return f"part-{self._tag}-{number:05d}.parquet"

    def _foreign(self, folder: str) -> list[str]:
        """Returns the files of a folder that this write has not made."""
        own = f"part-{self._tag}-"
        return [path for path in self._visible(folder) if not PurePosixPath(path).name.startswith(own)]
