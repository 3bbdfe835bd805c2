"""Writing an artifact: files first, each hashed as it is written, the manifest last."""

import contextlib
import errno
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, BinaryIO, cast
from uuid import uuid4

import pyarrow as pa
import pyarrow.fs as pafs

from simulacra.artifacts.manifest import MANIFEST_FILE, ArtifactManifest, FileEntry, check_file
from simulacra.errors import StorageFull

__all__ = ["ArtifactWriter", "disk_full_mapped"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def disk_full_mapped() -> Iterator[None]:
    """Raises `StorageFull` for the faults of a file system or bucket that has no space left."""
    try:
        yield
    except OSError as fault:
        text = str(fault)
        if fault.errno in _FULL or any(f"errno {number}]" in text.lower() for number in _FULL):
            raise StorageFull(
                "the artifact store has no space left; free some disk space and try again"
            ) from fault
        raise


class ArtifactWriter:
    """One artifact in the making; nobody sees it before `publish`.

    Its files go into a folder with a random name, so that two attempts at one artifact never mix.
    """

    def __init__(self, filesystem: pafs.FileSystem, name: str) -> None:
        self.name = name
        self._filesystem = filesystem
        self._folder = f"data-{uuid4().hex}"
        self._files: dict[str, FileEntry] = {}
        self.published: ArtifactManifest | None = None
        with disk_full_mapped():
            filesystem.create_dir(f"{name}/{self._folder}", recursive=True)

    @contextlib.contextmanager
    def open(self, file: str) -> Iterator[BinaryIO]:
        """Opens a file of the artifact for writing.

        Raises:
            StorageFull: There is no space left.
        """
        path = f"{self._folder}/{check_file(file)}"
        with disk_full_mapped():
            if "/" in file:
                self._filesystem.create_dir(f"{self.name}/{path.rpartition('/')[0]}", recursive=True)
            with self._filesystem.open_output_stream(f"{self.name}/{path}", compression=None) as stream:
                sink = _HashingSink(stream)
                yield cast(BinaryIO, sink)
        self._files[file] = FileEntry(path=path, size=sink.size, sha256=sink.digest.hexdigest())

    def write_bytes(self, file: str, data: bytes) -> None:
        """Writes a whole file."""
        with self.open(file) as sink:
            sink.write(data)

    def publish(
        self,
        *,
        kind: str,
        rows: int | None = None,
        attributes: Mapping[str, Any] | None = None,
        schema: pa.Schema | None = None,
    ) -> ArtifactManifest:
        """Makes the artifact visible; one of the same name is replaced.

        Args:
            kind: What it holds, such as `table`.
            rows: Number of rows, for a table.
            attributes: JSON that the reader finds in the manifest.
            schema: Arrow schema, for a table.
        """
        manifest = ArtifactManifest(
            kind=kind,
            rows=rows,
            created_at=datetime.now(UTC),
            files=dict(self._files),
            schema=schema.serialize().to_pybytes() if schema is not None else None,
            attributes=json.loads(json.dumps(dict(attributes or {}))),
        )
        temporary = f"{self.name}/{self._folder}/{MANIFEST_FILE}"
        with disk_full_mapped():
            # Renamed, so that a reader never meets half a manifest; object stores make a new object at once
            # anyway.
            with self._filesystem.open_output_stream(temporary, compression=None) as stream:
                stream.write(manifest.to_json())
            self._filesystem.move(temporary, f"{self.name}/{MANIFEST_FILE}")
        self.published = manifest
        return manifest

    def abandon(self) -> None:
        """Removes what was written, if it was not published."""
        if self.published is None:
            with contextlib.suppress(OSError):
                self._filesystem.delete_dir(f"{self.name}/{self._folder}")

    def __enter__(self) -> "ArtifactWriter":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.abandon()


class _HashingSink(io.RawIOBase):
    """Passes bytes on and hashes them; closing it does not close the stream below."""

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream = stream
        self.digest = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        with disk_full_mapped():
            self._stream.write(view)
        self.digest.update(view)
        self.size += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self.size
