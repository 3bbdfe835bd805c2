"""Values as TDS carries them: result sets that a server writes, bulk loads that it reads; see `tests.tds`."""

import datetime
import re
import struct
from collections.abc import Callable
from decimal import Context, Decimal
from typing import Any

__all__ = ["COLLATION", "bulk_rows", "digits", "result"]

COLLATION = bytes.fromhex("0904d00034")


def digits(type: str) -> tuple[int, int]:
    found = re.match(r"DECIMAL\((\d+),(\d+)\)", type)
    return (int(found[1]), int(found[2])) if found else (0, 0)


_Writer = Callable[[Any], bytes]


def result(description: Any, rows: list[tuple[Any, ...]]) -> bytes:
    """Writes a result set: its columns, its rows, and that it is done."""
    out = [b"\x81", struct.pack("<H", len(description))]
    writers: list[_Writer] = []
    for name, type, *_ in description:
        info, write = _column(str(type))
        writers.append(write)
        out += [struct.pack("<IH", 0, 1), info, bytes([len(name)]), str(name).encode("utf-16-le")]
    for row in rows:
        out.append(b"\xd1")
        out += [write(value) for write, value in zip(writers, row, strict=True)]
    out.append(struct.pack("<BHHQ", 0xFD, 0x10, 0xC1, len(rows)))
    return b"".join(out)


def _column(type: str) -> tuple[bytes, _Writer]:
    integers = {
        "TINYINT": 2,
        "UTINYINT": 2,
        "SMALLINT": 2,
        "INTEGER": 4,
        "BIGINT": 8,
        "UBIGINT": 8,
        "HUGEINT": 8,
    }
    if type == "BOOLEAN":
        return b"\x68\x01", lambda v: b"\0" if v is None else bytes([1, int(v)])
    if type in integers:
        size = integers[type]
        return bytes(
            [0x26, size]
        ), lambda v: b"\0" if v is None else bytes([size]) + int(v).to_bytes(size, "little", signed=True)
    if type in ("FLOAT", "DOUBLE"):
        return b"\x6d\x08", lambda v: b"\0" if v is None else b"\x08" + struct.pack("<d", v)
    if type.startswith("DECIMAL"):
        precision, scale = digits(type)
        return bytes([0x6A, 17, precision, scale]), lambda v: _decimal(v, scale)
    if type == "DATE":
        return b"\x28", lambda v: b"\0" if v is None else b"\x03" + (v.toordinal() - 1).to_bytes(3, "little")
    if type == "BLOB":
        return b"\xa5\xff\xff", _plp
    return b"\xe7\xff\xff" + COLLATION, lambda v: _plp(None if v is None else str(v).encode("utf-16-le"))


def _decimal(value: Decimal | None, scale: int) -> bytes:
    if value is None:
        return b"\0"
    return bytes([17, value >= 0]) + int(value.copy_abs().scaleb(scale, Context(prec=60))).to_bytes(
        16, "little"
    )


def _plp(value: bytes | None) -> bytes:
    if value is None:
        return b"\xff" * 8
    chunk = struct.pack("<I", len(value)) + value if value else b""
    return struct.pack("<Q", len(value)) + chunk + b"\0\0\0\0"


def bulk_rows(data: bytes) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Reads what a bulk load sends: its columns, then rows."""
    stream = _Stream(data)
    assert stream.take(1) == b"\x81"
    readers: list[Callable[[], Any]] = []
    names: list[str] = []
    for _ in range(stream.number(2)):
        stream.take(6)
        readers.append(stream.reader(stream.number(1)))
        names.append(stream.take(2 * stream.number(1)).decode("utf-16-le"))
    rows: list[tuple[Any, ...]] = []
    while stream.take(1) == b"\xd1":
        rows.append(tuple(read() for read in readers))
    return names, rows


class _Stream:
    """Reads values of bulk loads."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        self._at += size
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def reader(self, type: int) -> Callable[[], Any]:
        if type in (0x26, 0x68, 0x6D):
            self.take(1)
            return {0x26: self._integer, 0x68: self._integer, 0x6D: self._float}[type]
        if type in (0x6A, 0x6C):
            _, _, scale = self.take(3)
            return lambda: self._decimal(scale)
        if type in (0xE7, 0xA5):
            self.take(7 if type == 0xE7 else 2)
            return lambda: self._plp(text=type == 0xE7)
        if type == 0x28:
            return lambda: self._moment(None, self._value())
        scale = self.number(1)
        return {
            0x29: lambda: self._moment(scale, self._value(), time=True),
            0x2A: lambda: self._moment(scale, self._value()),
            0x2B: lambda: self._moment(scale, self._value(), zone=True),
        }[type]

    def _value(self) -> bytes:
        return self.take(self.number(1))

    def _integer(self) -> int | None:
        value = self._value()
        # A tinyint and a bit have no sign.
        return int.from_bytes(value, "little", signed=len(value) > 1) if value else None

    def _float(self) -> float | None:
        value = self._value()
        return float(struct.unpack("<f" if len(value) == 4 else "<d", value)[0]) if value else None

    def _decimal(self, scale: int) -> Decimal | None:
        value = self._value()
        return _scaled(value, scale) if value else None

    def _plp(self, *, text: bool) -> Any:
        if self.take(8) == b"\xff" * 8:
            return None
        data = b"".join(iter(lambda: self.take(self.number(4)), b""))
        return data.decode("utf-16-le") if text else data

    def _moment(self, scale: int | None, value: bytes, *, time: bool = False, zone: bool = False) -> Any:
        if not value:
            return None
        if zone:
            value = value[:-2]  # the offset; what comes before is UTC
        ticks, days = (value, b"") if time else (value[:-3], value[-3:])
        micro = int.from_bytes(ticks, "little") * 10**6 // 10 ** (scale or 0) if ticks else 0
        moment = datetime.datetime(1, 1, 1) + datetime.timedelta(
            days=int.from_bytes(days, "little"), microseconds=micro
        )
        if time:
            return moment.time()
        if scale is None:
            return moment.date()
        return moment.replace(tzinfo=datetime.UTC) if zone else moment


def _scaled(value: bytes, scale: int) -> Decimal:
    magnitude = Decimal(int.from_bytes(value[1:], "little")).scaleb(-scale, Context(prec=60))
    return magnitude if value[0] else -magnitude
