"""Files and rows between here and the platform: resumable uploads and downloads, Arrow streams."""

import hashlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
from google.protobuf.message import Message

from simulacra.client._aio.session import AsyncSession
from simulacra.client._frames import Source
from simulacra.client._requests import message_of
from simulacra.client._transport import request_class
from simulacra.errors import ChecksumMismatch, OffsetMismatch, ResourceNotFound, ServiceUnavailable

__all__ = [
    "arrow_messages",
    "chunk_messages",
    "download",
    "make_folder",
    "read_tables",
    "save_table",
    "sha256_of",
    "size_of",
    "upload",
]

CHUNK = 1 << 20
ATTEMPTS = 6
"""How often a broken transfer goes on, with growing pauses between."""


def _pause(attempt: int) -> float:
    return min(8.0, 0.25 * 2.0**attempt)


def _pieces(data: bytes | Path, offset: int) -> Iterator[bytes]:
    with BytesIO(data) if isinstance(data, bytes) else data.open("rb") as file:
        file.seek(offset)
        while piece := file.read(CHUNK):
            yield piece


def make_folder(path: Path) -> None:
    """Makes a folder and those above it, if need be."""
    path.mkdir(parents=True, exist_ok=True)


def size_of(path: Path) -> int:
    """Returns the number of bytes of a file."""
    return path.stat().st_size


def sha256_of(data: bytes | Path) -> str:
    """Returns the SHA-256 of bytes or of a file in hexadecimal digits."""
    digest = hashlib.sha256()
    for piece in _pieces(data, 0):
        digest.update(piece)
    return digest.hexdigest()


def chunk_messages(method: str, data: bytes | Path, offset: int = 0) -> Iterator[Message]:
    """Yields the rest of a file, from `offset` on, as the chunks of a method's request stream."""
    part: Any = request_class(method)
    for piece in _pieces(data, offset):
        message = part()
        message.chunk.offset, message.chunk.data = offset, piece
        offset += len(piece)
        yield message


def _upload_messages(header: dict[str, Any], source: Source, offset: int, sha256: str) -> Iterator[Message]:
    part: Any = request_class("UploadService.Upload")
    first = part()
    first.header.CopyFrom(message_of(type(first.header), header))
    yield first
    yield from chunk_messages("UploadService.Upload", source.data, offset)
    last = part()
    last.finish.sha256 = sha256
    yield last


async def upload(session: AsyncSession, source: Source) -> Message:
    """Uploads a file and returns its connector; a broken stream goes on where the platform's bytes end.

    Raises:
        SimulacraError: If the file cannot be read as what its name says, or the platform stays away.
    """
    sha256 = await session.in_thread(sha256_of, source.data)
    header = {
        "upload_id": str(uuid4()),
        "file_name": source.file_name,
        "connector_name": source.name,
        "total_size": source.size,
    }
    offset = 0
    for attempt in range(ATTEMPTS):
        try:
            messages = _upload_messages(header, source, offset, sha256)
            done: Any = await session.transport.send("UploadService.Upload", messages)
            connector: Message = done.connector
            return connector
        except (ServiceUnavailable, OffsetMismatch):
            if attempt + 1 == ATTEMPTS:
                raise
        await session.transport.sleep(_pause(attempt))
        offset = await _committed_size(session, str(header["upload_id"]))
    raise AssertionError("the last attempt returns or raises")


async def _committed_size(session: AsyncSession, upload_id: str) -> int:
    try:
        state: Any = await session.do("UploadService.GetUpload", id=upload_id)
    except ResourceNotFound:  # the stream broke before the platform had seen its header
        return 0
    return int(state.committed_size)


async def _chunks(session: AsyncSession, method: str, fields: dict[str, Any]) -> AsyncGenerator[Any, None]:
    """Yields a file's chunks from its start to its end, across broken streams."""
    offset, attempt = 0, 0
    while True:
        try:
            async with aclosing(session.stream(method, offset=offset, **fields)) as chunks:
                async for chunk in chunks:
                    offset, attempt = chunk.offset + len(chunk.data), 0
                    yield chunk
            return
        except ServiceUnavailable:
            attempt += 1
            if attempt == ATTEMPTS:
                raise
        await session.transport.sleep(_pause(attempt))


class _Incoming:
    """A file that arrives piece by piece beside its target, and takes the target's place when it is whole."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._part: IO[bytes] | None = None
        self._digest = hashlib.sha256()
        self._sha256 = ""

    def add(self, chunk: Any) -> None:
        """Writes a chunk; the first one names the file if the target is a folder."""
        if self._part is None:
            name = Path(chunk.file_name).name or "download"
            self._target = self._target / name if self._target.is_dir() else self._target
            make_folder(self._target.parent)
            self._part = _part_of(self._target).open("wb")
        self._part.write(chunk.data)
        self._digest.update(chunk.data)
        self._sha256 = chunk.sha256 or self._sha256

    def complete(self) -> Path:
        """Returns the target, which now holds the file."""
        if self._part is None or (self._sha256 and self._sha256 != self._digest.hexdigest()):
            name = self._target.name
            raise ChecksumMismatch(f'"{name}" arrived damaged; download it again', file=name)
        self._part.close()
        Path(self._part.name).replace(self._target)
        return self._target

    def discard(self) -> None:
        """Removes what is left of a file that did not become whole."""
        if self._part is not None:
            self._part.close()
            Path(self._part.name).unlink(missing_ok=True)


def _part_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.{uuid4().hex[:8]}.part")


async def download(session: AsyncSession, method: str, file_path: str | Path | None, **fields: Any) -> Path:
    """Writes a file that the platform sends, and returns its path; nothing is left of one that breaks off.

    Args:
        session: The connection.
        method: A method that streams DownloadChunks.
        file_path: The file or folder; by default the platform's name for it in the working folder.
        **fields: The method's request.

    Raises:
        ChecksumMismatch: If what arrived is not what was sent.
    """
    incoming = _Incoming(Path(file_path or "."))
    try:
        async with aclosing(_chunks(session, method, fields)) as chunks:
            async for chunk in chunks:
                await session.in_thread(incoming.add, chunk)
        target: Path = await session.in_thread(incoming.complete)
        return target
    finally:
        incoming.discard()


async def read_tables(session: AsyncSession, method: str, **fields: Any) -> dict[str, pa.Table]:
    """Returns the tables of a stream of Arrow IPC, by name."""
    streams: dict[str, BytesIO] = {}
    async with aclosing(session.stream(method, **fields)) as chunks:
        async for chunk in chunks:
            streams.setdefault(chunk.table_name, BytesIO()).write(chunk.data)
    return {name: pa.ipc.open_stream(stream.getvalue()).read_all() for name, stream in streams.items()}


async def save_table(session: AsyncSession, method: str, target: Path, **fields: Any) -> int:
    """Writes the table of an Arrow IPC stream as one Parquet file and returns its number of rows."""
    with TemporaryFile() as spool:
        async with aclosing(session.stream(method, **fields)) as chunks:
            async for chunk in chunks:
                spool.write(chunk.data)
        return int(await session.in_thread(_parquet_from_ipc, spool, target))


def _parquet_from_ipc(spool: IO[bytes], target: Path) -> int:
    spool.seek(0)
    rows, part = 0, _part_of(target)
    try:
        reader = pa.ipc.open_stream(spool)
        with pq.ParquetWriter(part, reader.schema, compression="zstd") as writer:
            for batch in reader:
                writer.write_batch(batch)
                rows += batch.num_rows
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return rows


def arrow_messages(method: str, header: dict[str, Any], table: pa.Table) -> Iterator[Message]:
    """Yields a table as the header and the data of a method's request stream, cut at 1 MiB."""
    part: Any = request_class(method)
    first = part()
    first.header.CopyFrom(message_of(type(first.header), header))
    yield first
    sink = BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=16_384)
    for piece in _pieces(sink.getvalue(), 0):
        message = part()
        message.data = piece
        yield message
