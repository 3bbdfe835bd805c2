"""Tables as Arrow IPC streams in pieces that fit into messages."""

import io
from collections.abc import Iterable, Iterator
from typing import Final

import pyarrow as pa

__all__ = ["PIECE_BYTES", "IpcWriter", "ipc_pieces"]

PIECE_BYTES: Final = 1 << 20


class IpcWriter:
    """Writes an Arrow IPC stream and hands it out in pieces of at most `PIECE_BYTES`."""

    def __init__(self, schema: pa.Schema) -> None:
        self._sink = io.BytesIO()
        self._writer = pa.ipc.new_stream(self._sink, schema)

    def write(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        """Yields what a batch adds to the stream; the first one also brings the schema."""
        self._writer.write_batch(batch)
        return self._taken()

    def close(self) -> Iterator[bytes]:
        """Yields the end of the stream."""
        self._writer.close()
        return self._taken()

    def _taken(self) -> Iterator[bytes]:
        data = self._sink.getvalue()
        self._sink.seek(0)
        self._sink.truncate()
        return (data[start : start + PIECE_BYTES] for start in range(0, len(data), PIECE_BYTES))


def ipc_pieces(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """Yields a whole stream in pieces."""
    writer = IpcWriter(schema)
    for batch in batches:
        yield from writer.write(batch)
    yield from writer.close()
