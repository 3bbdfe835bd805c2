"""Reads an Arrow IPC stream that a client sends, in the thread of a driver, as the driver asks for it."""

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import CancelledError

import pyarrow as pa

from simulacra.errors import CorruptUpload
from simulacra_connector.drivers.base import Canceled, Cancellation, TableStream

__all__ = ["arrow_input"]

_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


class _Chunks(io.RawIOBase):
    """A file whose bytes come from an asynchronous iterator of another thread's event loop."""

    def __init__(
        self, chunks: AsyncIterator[bytes], loop: asyncio.AbstractEventLoop, cancellation: Cancellation
    ) -> None:
        super().__init__()
        self._chunks, self._loop, self._cancellation = chunks, loop, cancellation
        self._pending = memoryview(b"")
        self.tail = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]
        if not self._pending:
            self._pending = memoryview(self._next())
        size = min(len(buffer), len(self._pending))
        buffer[:size] = self._pending[:size]
        self.tail = (self.tail + bytes(self._pending[max(0, size - 8) : size]))[-8:]
        self._pending = self._pending[size:]
        return size

    def _next(self) -> bytes:
        """Returns the next bytes; none at the end."""

        async def next_chunk() -> bytes:
            async for chunk in self._chunks:
                if chunk:
                    return chunk
            return b""

        future = asyncio.run_coroutine_threadsafe(next_chunk(), self._loop)

        def stop() -> None:
            future.cancel()

        with self._cancellation.stopping(stop):
            try:
                return future.result()
            except CancelledError:
                raise Canceled from None


def arrow_input(
    chunks: AsyncIterator[bytes], loop: asyncio.AbstractEventLoop, cancellation: Cancellation
) -> TableStream:
    """Opens the stream; its batches are validated, and its end must have been sent.

    Raises:
        CorruptUpload: If it is no Arrow stream; raised by the batches too.
    """
    source = _Chunks(chunks, loop, cancellation)
    buffered = io.BufferedReader(source, buffer_size=1 << 16)
    try:
        reader = pa.ipc.open_stream(buffered)
    except (pa.ArrowException, OSError, EOFError) as error:
        raise _corrupt(error) from error

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for batch in reader:
                batch.validate(full=True)
                yield batch
        except (pa.ArrowException, OSError, EOFError) as error:
            raise _corrupt(error) from error
        buffered.read()
        if source.tail != _END_OF_STREAM:
            raise CorruptUpload("the Arrow stream is cut off: its end-of-stream mark is missing")

    return TableStream(reader.schema, batches())


def _corrupt(error: Exception) -> CorruptUpload:
    return CorruptUpload(f"the data are not an Arrow IPC stream: {str(error).splitlines()[0]}")
