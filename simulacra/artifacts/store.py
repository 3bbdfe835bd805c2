"""A folder or bucket of artifacts: create, open, list, delete, and sweep what killed processes left."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from simulacra.artifacts.manifest import MANIFEST_FILE, ArtifactManifest, check_name, is_data_folder
from simulacra.artifacts.reader import Artifact
from simulacra.artifacts.writer import ArtifactWriter
from simulacra.errors import ArtifactNotFound

__all__ = ["ArtifactManifest", "ArtifactStore"]

_PART_ROWS = 1 << 20


class ArtifactStore:
    """Artifacts below one root; the calls block, so services make them in threads.

    An artifact is a folder: its files below `data-<random>/`, and `manifest.json`, which is written last.
    What has no manifest does not exist.
    """

    def __init__(self, filesystem: pafs.FileSystem, *, is_local: bool) -> None:
        self._filesystem = filesystem
        self._is_local = is_local

    @classmethod
    def from_url(cls, url: str) -> "ArtifactStore":
        """Opens the store at `file://`, `s3://`, `gs://` or `abfs://`; makes a local folder.

        S3 takes options in the query: `s3://bucket/prefix?region=...&endpoint_override=...&scheme=http`.
        """
        filesystem, root = pafs.FileSystem.from_uri(url)
        is_local = isinstance(filesystem, pafs.LocalFileSystem)
        if is_local:
            Path(root).mkdir(parents=True, exist_ok=True)
        return cls(pafs.SubTreeFileSystem(root, filesystem), is_local=is_local)

    def create(self, name: str) -> ArtifactWriter:
        """Begins an artifact; use it as a context manager and call `publish` at the end.

        Raises:
            InvalidArgument: The name is not a safe path.
            StorageFull: There is no space left.
        """
        return ArtifactWriter(self._filesystem, check_name(name))

    def open(self, name: str) -> Artifact:
        """Opens a published artifact.

        Raises:
            ArtifactNotFound: There is none of this name.
            CorruptBundle: Its manifest is damaged.
        """
        try:
            with self._filesystem.open_input_stream(
                f"{check_name(name)}/{MANIFEST_FILE}", compression=None
            ) as stream:
                manifest = ArtifactManifest.from_json(stream.read())
        except FileNotFoundError as error:
            raise ArtifactNotFound(
                f"there is no artifact {name!r}; it may have been deleted", artifact=name
            ) from error
        return Artifact(self._filesystem, name, manifest, is_local=self._is_local)

    def exists(self, name: str) -> bool:
        """Whether an artifact of this name is published."""
        info = self._filesystem.get_file_info(f"{check_name(name)}/{MANIFEST_FILE}")
        return bool(info.type == pafs.FileType.File)

    def delete(self, name: str) -> None:
        """Deletes an artifact, manifest first, and everything below its name, if there is one."""
        if self.exists(name):
            self._filesystem.delete_file(f"{name}/{MANIFEST_FILE}")
        if self._filesystem.get_file_info(name).type == pafs.FileType.Directory:
            self._filesystem.delete_dir(name)

    def names(self, prefix: str = "") -> Sequence[str]:
        """Lists the published artifacts that are called `prefix` or lie below it as a folder, sorted."""
        suffix = f"/{MANIFEST_FILE}"
        found = (info.path for info in self._list(prefix) if info.path.endswith(suffix))
        names = (path.removesuffix(suffix) for path in found)
        return sorted(name for name in names if not is_data_folder(name.rpartition("/")[2]))

    def sweep(self, prefix: str, older_than: timedelta) -> Sequence[str]:
        """Deletes older files that were never published, as of killed writers; returns their folders."""
        infos = list(self._list(prefix))
        newest: dict[str, datetime] = {}
        for info in infos:
            folder = _data_folder(info.path)
            if folder is not None:
                changed = info.mtime or datetime.now(UTC)
                newest[folder] = max(newest.get(folder, changed), changed)
        limit = datetime.now(UTC) - older_than
        leftovers = [
            folder for folder, time in sorted(newest.items()) if time < limit and not self._in_use(folder)
        ]
        for folder in leftovers:
            self._filesystem.delete_dir(folder)
        return leftovers

    def write_table(
        self, name: str, table: pa.Table, attributes: Mapping[str, Any] | None = None, *, kind: str = "table"
    ) -> ArtifactManifest:
        """Publishes a table as an artifact of Parquet parts."""
        return self.write_batches(name, table.to_batches(), table.schema, attributes, kind=kind)

    def write_batches(
        self,
        name: str,
        batches: Iterable[pa.RecordBatch],
        schema: pa.Schema,
        attributes: Mapping[str, Any] | None = None,
        *,
        kind: str = "table",
    ) -> ArtifactManifest:
        """Publishes rows that come a batch at a time, in bounded memory, as an artifact of Parquet parts."""
        rows = 0
        with self.create(name) as writer:
            for number, part in enumerate(_parts(batches)):
                with (
                    writer.open(f"part-{number:05d}.parquet") as sink,
                    pq.ParquetWriter(sink, schema, compression="zstd") as parquet,
                ):
                    for batch in part:
                        parquet.write_batch(batch)
                        rows += batch.num_rows
            return writer.publish(kind=kind, rows=rows, attributes=attributes, schema=schema)

    def _list(self, prefix: str) -> Sequence[pafs.FileInfo]:
        selector = pafs.FileSelector(
            check_name(prefix) if prefix else "", allow_not_found=True, recursive=True
        )
        return [info for info in self._filesystem.get_file_info(selector) if info.type == pafs.FileType.File]

    def _in_use(self, folder: str) -> bool:
        name, _, data = folder.rpartition("/")
        try:
            entries = self.open(name).manifest.files.values()
        except ArtifactNotFound:
            return False
        return any(entry.path.startswith(f"{data}/") for entry in entries)


def _parts(batches: Iterable[pa.RecordBatch]) -> Iterator[Iterator[pa.RecordBatch]]:
    """Groups batches into parts of at least `_PART_ROWS` rows; each group must be used up before the next."""
    source = iter(batches)

    def part(first: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        rows = first.num_rows
        yield first
        while rows < _PART_ROWS and (batch := next(source, None)) is not None:
            rows += batch.num_rows
            yield batch

    while (first := next(source, None)) is not None:
        yield part(first)


def _data_folder(path: str) -> str | None:
    parts = path.split("/")
    for position, part in enumerate(parts[:-1]):
        if position > 0 and is_data_folder(part):
            return "/".join(parts[: position + 1])
    return None
