"""Dates and timestamps as calendar parts and a time of day: weekdays, month ends and midnights stay."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulacra.engine.codecs._json import Document
from simulacra.engine.codecs.base import Codec, FitOptions, ValueRange, validity
from simulacra.engine.codecs.cells import Cells
from simulacra.engine.codecs.iso import IsoForm
from simulacra.engine.codecs.protection import Protection

__all__ = ["DatetimeCodec"]

_TICKS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_DAY_SECONDS = 86_400
_TEXT_DAYS = 2_932_896
_MAX_DAYS = 256
_FINE: dict[str, tuple[int, ...]] = {"day": (), "week": (7,), "calendar": (12, 31)}
_LAYOUTS = tuple(_FINE)
_SAMPLE = 100_000
_MOSTLY = 0.99
_OPEN = Protection()


@dataclass(frozen=True)
class DatetimeCodec(Codec):
    """Sub-columns: the calendar parts of the layout, then the time of day if there is any.

    The layout is `day` (the day itself: few distinct days that enough subjects share, or no pattern in them),
    `week` (week, weekday) when weekdays differ in frequency, or `calendar` (year, month, day of the month)
    when months or their days do.

    Attributes:
        kind: The column's type: a date, a timestamp (with or without zone), or text in ISO format.
        nullable: Whether null has a code.
        layout: One of `day`, `week`, `calendar`.
        low: Protected lower bound in days since 1970, local time. Decoding keeps to its day, week or month.
        high: Protected upper bound; below `low` when nothing may be known.
        coarse: Cells of the day, the week or the year; None when nothing may be known.
        time: Cells of the ticks since midnight; None when all are 0.
        form: How text writes dates and times.
    """

    encoding: ClassVar[str] = "TABULAR_DATETIME"
    kind: pa.DataType
    nullable: bool
    layout: str
    low: int
    high: int
    coarse: Cells | None
    time: Cells | None
    form: IsoForm

    @classmethod
    def fit(cls, column: pa.Array, options: FitOptions) -> Self:
        """Chooses the layout and partitions its parts."""
        kind = column.type
        form = IsoForm.of(column) if _is_text(kind) else IsoForm()
        ticks, valid = _read(column, kind, form, options.protection)
        nullable = column.null_count > 0
        ticks = ticks[valid]
        rule = options.protection.take(valid)
        if rule.hides_all(len(ticks)):
            return cls(kind, True, "day", 0, -1, None, None, form)
        days, clock = np.divmod(ticks, _per_day(kind, form))
        order = np.argsort(days, kind="stable")
        low, high = (int(bound) for bound in rule.take(order).bounds(days[order]))
        layout = _choose(np.clip(days, low, high), rule)
        coarse = Cells.fit(_parts(days, layout)[0], rule, max_atoms=_MAX_DAYS)
        time = Cells.fit(clock, rule, max_atoms=_MAX_DAYS) if clock.any() else None
        return cls(kind, nullable, layout, low, high, coarse, time, form)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """The parts' codes, each after one for null or absence where the column is nullable."""
        if self.coarse is None:
            return (1,)
        sizes = (self.coarse.size, *_FINE[self.layout], *((self.time.size,) if self.time else ()))
        return tuple(size + int(self.nullable) for size in sizes)

    @property
    def places(self) -> tuple[np.ndarray | None, ...]:
        """The places of the parts' codes."""
        if self.coarse is None:
            return (None,)
        fine = [(np.arange(size) + 0.5) / size for size in _FINE[self.layout]]
        parts = [self.coarse.places, *fine, *([self.time.places] if self.time else [])]
        return tuple(np.concatenate([np.full(int(self.nullable), np.nan), part]) for part in parts)

    def encode(self, column: pa.Array) -> np.ndarray:
        """Splits the values, clipped to the bounds, into their parts' codes."""
        ticks, valid = _read(column, self.kind, self.form)
        codes = np.zeros((len(ticks), len(self.cardinalities)), np.int32)
        if self.coarse is None:
            return codes
        days, clock = np.divmod(ticks, _per_day(self.kind, self.form))
        coarse, *fine = _parts(days, self.layout)
        parts = [self.coarse.encode(coarse), *fine]
        if self.time:
            parts.append(self.time.encode(clock))
        for position, part in enumerate(parts):
            codes[:, position] = part + int(self.nullable)
        if not valid.all():
            codes[~valid] = 0
        return codes

    def decode(self, codes: np.ndarray, rng: np.random.Generator) -> pa.Array:
        """Puts the parts together; a day beyond its month's end becomes the last of the month."""
        null = (codes[:, 0] == 0) if self.nullable else np.zeros(len(codes), bool)
        if self.coarse is None:
            return pa.nulls(len(codes), self.kind)
        parts = (codes.astype(np.int64) - int(self.nullable)).clip(min=0)
        coarse = self.coarse.decode(parts[:, 0], rng)
        days = _days(coarse, parts[:, 1:], self.layout)
        days = _within(days, self.low, self.high, self.layout)
        clock = self.time.decode(parts[:, -1], rng) if self.time else np.zeros_like(days)
        ticks = days * _per_day(self.kind, self.form) + clock
        about = days.astype(np.float64) * _per_day(self.kind, self.form) + clock
        beyond = (np.abs(about) > 2.0**62) & ((about > 0) != (ticks > 0))  # nanoseconds end inside of a day
        ticks = np.where(beyond, np.where(about > 0, 2**63 - 1, -(2**63) + 1), ticks)
        return _write(ticks, null, self.kind, self.form)

    def unknown(self, column: pa.Array) -> np.ndarray:
        """Says which values lie outside of the protected bounds."""
        ticks, valid = _read(column, self.kind, self.form)
        days = ticks // _per_day(self.kind, self.form)
        unknown: np.ndarray = valid & (_within(days, self.low, self.high, self.layout) != days)
        return unknown

    def value_range(self) -> ValueRange:
        """Returns the protected bounds in ISO format."""
        if self.coarse is None:
            return ValueRange(has_null=self.nullable)
        low, high = np.datetime_as_string(np.array([self.low, self.high]).astype("datetime64[D]"))
        return ValueRange(min=str(low), max=str(high), has_null=self.nullable)

    def to_json(self) -> dict[str, Any]:
        """Returns the layout and its cells."""
        return {
            "layout": self.layout,
            "low": self.low,
            "high": self.high,
            "coarse": self.coarse.to_json() if self.coarse else None,
            "time": self.time.to_json() if self.time else None,
            "form": self.form.to_json(),
        }

    @classmethod
    def from_json(cls, document: Document, kind: pa.DataType, nullable: bool) -> Self:
        """Reads a codec."""
        if not (pa.types.is_date(kind) or pa.types.is_timestamp(kind) or _is_text(kind)):
            raise document.fail("layout", f"{kind} is no date")
        coarse, time = (
            Cells.from_json(document.child(k)) if k in document else None for k in ("coarse", "time")
        )
        form = IsoForm.from_json(document.child("form"))
        per_day, limit = _per_day(kind, form), _last_day(kind, form)
        low, high = (document.integer(key, -limit, limit) for key in ("low", "high"))
        if any(cells is not None and cells.atoms.dtype != np.int64 for cells in (coarse, time)):
            raise document.fail("coarse", "is not of integers")
        if time is not None and not (time.low >= 0 and time.high < per_day):
            raise document.fail("time", "is beyond a day")
        if coarse is not None and (low > high or max(abs(coarse.low), abs(coarse.high)) > limit):
            raise document.fail("coarse", "is out of range")
        return cls(kind, nullable, document.text("layout", _LAYOUTS), low, high, coarse, time, form)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _unit(kind: pa.DataType, form: IsoForm) -> str:
    if pa.types.is_date32(kind):
        return "D"
    return "ms" if pa.types.is_date64(kind) else form.unit if _is_text(kind) else kind.unit


def _last_day(kind: pa.DataType, form: IsoForm) -> int:
    """Returns how many days from 1970 a type's values are away at most; text ends with the year 9999."""
    if _is_text(kind):
        return _TEXT_DAYS
    return 2**31 if pa.types.is_date32(kind) else 2**63 // _per_day(kind, form) + 1


def _per_day(kind: pa.DataType, form: IsoForm) -> int:
    return 1 if pa.types.is_date32(kind) else _DAY_SECONDS * _TICKS[_unit(kind, form)]


def _read(
    column: pa.Array, kind: pa.DataType, form: IsoForm, rule: Protection = _OPEN
) -> tuple[np.ndarray, np.ndarray]:
    """Returns ticks since 1970 in local time, 0 for null, and which values are there."""
    valid = validity(column)
    if column.type != kind:
        column = column.cast(kind)
    if _is_text(kind):
        column = form.read(column, rule)
    elif pa.types.is_timestamp(kind) and kind.tz:
        column = _local(column)
    plain = column.cast(pa.int32()).cast(pa.int64()) if pa.types.is_date32(kind) else column.cast(pa.int64())
    return plain.fill_null(0).to_numpy(zero_copy_only=False), valid


def _local(column: pa.Array) -> pa.Array:
    """Returns zoned timestamps as local ones, or as UTC when the zone is not known here."""
    try:
        return pc.local_timestamp(column)
    except pa.ArrowInvalid:
        return column.cast(pa.timestamp(column.type.unit))


def _write(ticks: np.ndarray, null: np.ndarray, kind: pa.DataType, form: IsoForm) -> pa.Array:
    if pa.types.is_date32(kind):
        return pa.array(ticks.astype(np.int32), pa.int32(), mask=null).cast(kind)
    if pa.types.is_date64(kind):
        return pa.array(ticks, pa.int64(), mask=null).cast(kind)
    column = pa.array(ticks, pa.int64(), mask=null).cast(pa.timestamp(_unit(kind, form)))
    if _is_text(kind):
        return form.write(column).cast(kind)
    if not kind.tz:
        return column
    try:
        return pc.assume_timezone(column, kind.tz, ambiguous="earliest", nonexistent="latest")
    except pa.ArrowInvalid:
        return column.cast(kind)


def _parts(days: np.ndarray, layout: str) -> list[np.ndarray]:
    """Splits days since 1970 into the layout's parts; all but the first are small codes from 0."""
    if layout == "day":
        return [days]
    if layout == "week":  # weeks from Monday; 1970-01-01 was a Thursday
        return [(days + 3) // 7, (days + 3) % 7]
    months = days.astype("datetime64[D]").astype("datetime64[M]")
    number = months.astype(np.int64)
    return [number // 12, number % 12, days - months.astype("datetime64[D]").astype(np.int64)]


def _days(coarse: np.ndarray, fine: np.ndarray, layout: str) -> np.ndarray:
    """Returns days since 1970 from the layout's parts."""
    if layout == "day":
        return coarse
    if layout == "week":
        return np.asarray(coarse * 7 - 3 + fine[:, 0])
    months = coarse * 12 + fine[:, 0]
    first = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    last = (months + 1).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) - 1
    return np.asarray(np.minimum(first + fine[:, 1], last))


def _within(days: np.ndarray, low: int, high: int, layout: str) -> np.ndarray:
    """Moves days from outside of the bounds' days, weeks or months into them, by whole weeks or months."""
    if layout == "day":
        return days.clip(low, high)
    if layout == "week":
        weeks, weekday = _parts(days, layout)
        first, last = (low + 3) // 7, (high + 3) // 7
        return _days(weeks.clip(first, last), weekday[:, None], layout)
    years, month, day = _parts(days, layout)
    bounds = [
        int(part[0][0] * 12 + part[1][0]) for part in (_parts(np.array([b]), layout) for b in (low, high))
    ]
    before = years * 12 + month
    months = before.clip(*bounds)
    at_end = (months != before) & (_parts(days + 1, layout)[2] == 0)  # which it stays in another month
    return _days(months // 12, np.stack([months % 12, np.where(at_end, 30, day)], 1), layout)


def _choose(days: np.ndarray, rule: Protection) -> str:
    """Chooses the layout by what weekdays, months and days of the month say beyond their noise."""
    distinct, numbers = np.unique(days, return_inverse=True)
    if len(distinct) <= _MAX_DAYS:
        shared = rule.count(numbers, len(distinct)) >= rule.threshold
        if shared[numbers].mean() >= _MOSTLY:  # else the days themselves are lost in bins
            return "day"
    sample = days[:: max(1, len(days) // _SAMPLE)]
    _, weekday = _parts(sample, "week")
    years, month, day = _parts(sample, "calendar")
    span = int(years.max() - years.min()) + 1
    gains = {
        "week": _information(weekday, np.full(7, 1 / 7)),
        "calendar": _information(day, _MONTH_DAYS)
        + (_information(month, np.full(12, 1 / 12)) if span > 2 else 0.0),
    }
    best = max(gains, key=lambda layout: gains[layout])
    return best if gains[best] > 0.002 else "day"


_MONTH_DAYS = np.array([12.0] * 28 + [11.25, 11.0, 7.0]) / (12 * 28 + 29.25)


def _information(codes: np.ndarray, expected: np.ndarray) -> float:
    """Returns the divergence of the codes' frequencies from the expected ones in nats, less its noise."""
    share = np.bincount(codes, minlength=len(expected)) / len(codes)
    seen = share > 0
    divergence = float((share[seen] * np.log(share[seen] / expected[seen])).sum())
    return max(0.0, divergence - 2 * (len(expected) - 1) / (2 * len(codes)))
