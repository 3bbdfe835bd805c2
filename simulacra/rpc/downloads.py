"""Files as streams of chunks: from any offset, with the size first and the sha256 last."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from simulacra.errors import OffsetMismatch

__all__ = ["CHUNK_BYTES", "DownloadFile", "FileChunk", "stream_file"]

CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class DownloadFile:
    """A file to send: its name without a folder, size, sha256 in hex, and how to open it (in a thread)."""

    name: str
    size: int
    sha256: str
    open: Callable[[], AbstractContextManager[BinaryIO]]


@dataclass(frozen=True, slots=True)
class FileChunk:
    """A piece of a file; the fields are those of the contract's DownloadChunk."""

    offset: int
    data: bytes
    total_size: int | None = None
    file_name: str | None = None
    sha256: str | None = None

    def fields(self) -> dict[str, Any]:
        """Returns the fields that are set."""
        named = {name: getattr(self, name) for name in ("total_size", "file_name", "sha256")}
        return {"offset": self.offset, "data": self.data} | {k: v for k, v in named.items() if v is not None}


async def stream_file(file: DownloadFile, offset: int = 0) -> AsyncIterator[FileChunk]:
    """Yields a file from `offset` on: the first chunk with size and name, the last with the sha256.

    Raises:
        OffsetMismatch: The offset is not in the file.
    """
    if not 0 <= offset <= file.size:
        raise OffsetMismatch(
            f"offset {offset} is not in the file, which has {file.size} bytes", committed_size=str(file.size)
        )
    with ExitStack() as stack:
        source = await asyncio.to_thread(lambda: stack.enter_context(file.open()))
        await asyncio.to_thread(source.seek, offset)
        start = offset
        while True:
            data = await asyncio.to_thread(source.read, CHUNK_BYTES)
            is_first, is_last = offset == start, offset + len(data) >= file.size
            yield FileChunk(
                offset=offset,
                data=data,
                total_size=file.size if is_first else None,
                file_name=file.name if is_first else None,
                sha256=file.sha256 if is_last else None,
            )
            offset += len(data)
            if is_last or not data:
                return
