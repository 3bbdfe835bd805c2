"""Rows as the server sends them, taken apart a column at a time: a cell in Python costs more than it weighs.

A row of MySQL's text protocol is a packet of its cells, each with its length in front, or the byte 0xFB for
NULL. So where a column's cells are is known for all rows of a batch at once, when the column before is known.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pymysql.cursors import SSCursor
from pymysql.protocol import MysqlPacket

__all__ = ["column_batches"]

_BATCH_ROWS, _BATCH_BYTES = 8192, 2**23
_NULL, _END = 0xFB, 0xFE
_LONGEST_END = 9
# How many bytes follow a first byte that is not the length itself.
_WIDTHS = {0xFC: 2, 0xFD: 3, 0xFE: 8}

Integers = npt.NDArray[np.int64]


class _Packet(MysqlPacket):  # type: ignore[misc]  # the driver has no types
    """A packet that is only kept."""

    def __init__(self, data: bytes, encoding: str) -> None:
        super().__init__(data, encoding)
        self.data = data


def column_batches(cursor: SSCursor, columns: int) -> Iterator[list[pa.BinaryArray]]:
    """Reads what is left of an unbuffered result, in batches of a bounded size: an array for each column.

    Raises:
        pymysql.err.Error: If the server ends the statement or the connection.
    """
    result: Any = cursor._result
    connection = result.connection
    rows: list[bytes] = []
    size = 0
    while result.unbuffered_active:
        packet = connection._read_packet(_Packet).data
        if packet[0] == _END and len(packet) < _LONGEST_END:
            result.unbuffered_active, result.connection = False, None
        else:
            rows.append(packet)
            size += len(packet)
        if rows and (size >= _BATCH_BYTES or len(rows) >= _BATCH_ROWS or not result.unbuffered_active):
            yield _columns(rows, columns)
            rows, size = [], 0


def _columns(rows: list[bytes], columns: int) -> list[pa.BinaryArray]:
    data = np.frombuffer(b"".join(rows), np.uint8)
    sizes = np.fromiter(map(len, rows), np.int64, len(rows))
    position = np.cumsum(sizes) - sizes  # (rows,): where each row's next cell begins
    found = []
    for _ in range(columns):
        begin, length, valid = _lengths(data, position)
        found.append(_array(data, begin, length, valid))
        position = begin + length
    return found


def _lengths(
    data: npt.NDArray[np.uint8], position: Integers
) -> tuple[Integers, Integers, npt.NDArray[np.bool_]]:
    """Returns where the cells at some positions begin, how long they are, and which are not NULL."""
    first = data[position]
    valid = first != _NULL
    length = np.where(valid, first, 0).astype(np.int64)
    begin = position + 1
    for mark, width in _WIDTHS.items():
        (long,) = np.nonzero(first == mark)
        if len(long):
            length[long] = sum(
                data[begin[long] + byte].astype(np.int64) << (8 * byte) for byte in range(width)
            )
            begin[long] += width
    return begin, length, valid


def _array(
    data: npt.NDArray[np.uint8], begin: Integers, length: Integers, valid: npt.NDArray[np.bool_]
) -> pa.BinaryArray:
    ends = np.cumsum(length)
    if ends[-1] > 2 * _BATCH_BYTES:  # few and huge
        values = np.concatenate(
            [data[start : start + size] for start, size in zip(begin, length, strict=True)]
        )
    else:  # each byte of the column: where it is in the data
        values = data[np.arange(ends[-1]) + np.repeat(begin - (ends - length), length)]
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    buffers = [
        pa.py_buffer(np.packbits(valid, bitorder="little")),
        pa.py_buffer(offsets),
        pa.py_buffer(values),
    ]
    made: pa.BinaryArray = pa.Array.from_buffers(pa.binary(), len(valid), buffers)
    return made
