"""Arrow numbers as int64 or float64 arrays and back, exactly: integers, decimals, floats on a grid."""

from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulacra.engine.codecs._json import Document
from simulacra.engine.codecs.base import readable, validity
from simulacra.engine.codecs.protection import Protection
from simulacra.errors import UnsupportedData

__all__ = ["NumberForm", "Numbers", "first_refused"]

_EXACT = 2**53
_MAX_DIGITS, _MOST_DIGITS = 8, 300
_WIDTH = 18
_OPEN = Protection()
_EXACTLY = Context(prec=80)
_UNIT = 2.0**128
_SIGN = np.uint64(1 << 63)


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column's values: `values` where `state` is 0, else 1 for null, 2 for NaN, 3 for -inf, 4 for +inf."""

    values: np.ndarray
    state: np.ndarray

    @property
    def present(self) -> np.ndarray:
        """Returns which rows have a finite value."""
        mask: np.ndarray = self.state == 0
        return mask


@dataclass(frozen=True, slots=True)
class NumberForm:
    """How a column's numbers are held: as integers that count units of 10^-digits, or as floats.

    Attributes:
        kind: The Arrow type.
        integer: Whether the values are held as int64.
        digits: Decimal digits after the point that are held; negative when low digits of huge numbers are
            dropped.
        huge: Whether floats are held as multiples of 2^128, so that neither their range nor their sums are
            beyond the largest float.
    """

    kind: pa.DataType
    integer: bool
    digits: int
    huge: bool = False

    @property
    def exact(self) -> bool:
        """Says whether nothing of the values is dropped."""
        return not pa.types.is_decimal(self.kind) or self.digits == self.kind.scale

    @property
    def fractional(self) -> bool:
        """Says whether the type holds floats, which may be NaN or infinite; text of numbers does too."""
        return bool(pa.types.is_floating(self.kind) or _is_text(self.kind))

    @property
    def zero(self) -> int:
        """Returns what is held for the number 0: uint64 is held shifted, so that it keeps its order."""
        return -(2**63) if pa.types.is_uint64(self.kind) else 0

    @classmethod
    def fit(cls, column: pa.Array, protection: Protection | None = None) -> Self:
        """Finds the form that holds a column's values exactly, but for those that too few subjects have.

        Digits of fewer than k subjects are dropped: nobody's own value decides how all others are held.
        """
        kind, rule = column.type, protection or Protection()
        if pa.types.is_decimal(kind):
            return cls(kind, True, _decimal_digits(column, rule))
        if not (pa.types.is_floating(kind) or _is_text(kind)):
            return cls(kind, True, 0)
        floats = _floats(column, rule)
        finite = np.isfinite(floats)
        floats, rule = floats[finite], rule.take(finite)
        single = pa.types.is_float32(kind)
        for digits in range(_MAX_DIGITS + 1):
            if all(
                rule.shared_by_few(_off_grid(floats[:rows], digits, single)) for rows in (1000, len(floats))
            ):
                return cls(kind, True, digits)
        return cls(kind, False, 0)

    def read(self, column: pa.Array) -> Numbers:
        """Returns the values of a column of this form's type."""
        state = np.where(validity(column), 0, 1).astype(np.int8)
        kind = self.kind
        if pa.types.is_floating(kind) or _is_text(kind):
            floats = _floats(column)
            state[np.isnan(floats) & (state == 0)] = 2
            state[np.isneginf(floats)] = 3
            state[np.isposinf(floats)] = 4
            floats = np.where(state == 0, floats, 0.0)
            if not self.integer:
                return Numbers(floats / _UNIT if self.huge else floats, state)
            with np.errstate(over="ignore"):  # unseen values may be beyond all that was learnt
                scaled = np.clip(np.rint(floats * 10.0**self.digits), -(2.0**62), 2.0**62)
            return Numbers(scaled.astype(np.int64), state)
        if pa.types.is_decimal(kind):
            return Numbers(_unscaled(column, kind.scale - self.digits), state)
        if pa.types.is_uint64(kind):
            return Numbers((column.fill_null(0).to_numpy(zero_copy_only=False) ^ _SIGN).view(np.int64), state)
        if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
            return Numbers(column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False), state)
        plain = column.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
        return Numbers(plain.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False), state)

    def write(self, numbers: Numbers) -> pa.Array:
        """Returns a column of this form's type."""
        kind, values, null = self.kind, numbers.values, numbers.state == 1
        if pa.types.is_floating(kind) or _is_text(kind):
            if self.integer:
                largest = np.finfo(np.float32 if pa.types.is_float32(kind) else np.float64).max
                with np.errstate(over="ignore"):  # a value rounded up may be beyond the largest float
                    values = np.clip(values / 10.0**self.digits, -largest, largest)
            elif self.huge:
                values = values * _UNIT
            for state, special in ((2, np.nan), (3, -np.inf), (4, np.inf)):
                values = np.where(numbers.state == state, special, values)
            return _from_floats(values, null, kind, self.digits if self.integer else None)
        null = null | (numbers.state != 0)
        if pa.types.is_decimal(kind):
            return _decimals(values, null, kind, kind.scale - self.digits)
        if pa.types.is_uint64(kind):
            return pa.array(values.view(np.uint64) ^ _SIGN, kind, mask=null)
        wide = pa.array(np.where(null, 0, values), pa.int64())
        if pa.types.is_temporal(kind) and kind.bit_width == 32:
            wide = wide.cast(pa.int32())
        return _mask(wide.cast(kind), null)

    def text(self, value: np.generic) -> str:
        """Returns one value as people read it."""
        column = self.write(Numbers(np.array([value]), np.zeros(1, np.int8)))
        return readable(column)[0]

    def to_json(self) -> dict[str, Any]:
        """Returns the form's document; the type is the codec's."""
        return {"integer": self.integer, "digits": self.digits, "huge": self.huge}

    @classmethod
    def from_json(cls, document: Document, kind: pa.DataType) -> Self:
        """Reads a form; raises `CorruptBundle` for one that does not suit the type."""
        integer, digits = document.flag("integer"), document.integer("digits", -_MOST_DIGITS, _MOST_DIGITS)
        huge = "huge" in document and document.flag("huge")
        form = cls(kind, integer, digits, huge)
        limits = (0, 0)
        if form.fractional:
            limits = (-_MOST_DIGITS, _MOST_DIGITS)
        elif pa.types.is_decimal(kind):
            limits = (-60, kind.scale)
        numeric = pa.types.is_decimal(kind) or pa.types.is_integer(kind) or pa.types.is_temporal(kind)
        if not (form.fractional or (numeric and integer)) or not limits[0] <= digits <= limits[1]:
            raise document.fail("digits", f"does not suit type {kind}")
        if huge and integer:
            raise document.fail("huge", "is for floats")
        return form


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def first_refused(texts: pa.Array, kind: pa.DataType, rule: Protection) -> str | None:
    """Returns the first text that cannot be read as a type, as an error may show it; slow: for errors."""
    for text in texts.drop_null():
        try:
            text.cast(kind)
        except pa.ArrowInvalid:
            return rule.quoted(text.as_py(), texts)
    return None


def _floats(column: pa.Array, rule: Protection = _OPEN) -> np.ndarray:
    """Returns a float or text column as float64 with 0 for null."""
    if _is_text(column.type):
        column = pc.utf8_trim_whitespace(column)
    try:
        floats: np.ndarray = column.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid as error:
        wrong = first_refused(column, pa.float64(), rule)
        raise UnsupportedData(
            f"the value {wrong} is no number, which a numeric encoding needs; use AUTO or TABULAR_CATEGORICAL"
        ) from error
    return floats


def _off_grid(floats: np.ndarray, digits: int, single: bool) -> np.ndarray:
    """Returns the places of the floats that are not the nearest ones to a whole number of 10^-digits.

    -0.0 is taken as 0: its sign is not worth the grid of all others.
    """
    with np.errstate(over="ignore"):
        back = np.rint(floats * 10.0**digits) / 10.0**digits
    if single:
        with np.errstate(over="ignore"):
            back = back.astype(np.float32).astype(np.float64)
    return np.flatnonzero((back != floats) | (np.abs(floats) >= _EXACT / 10.0**digits))


def _from_floats(values: np.ndarray, null: np.ndarray, kind: pa.DataType, digits: int | None) -> pa.Array:
    if not _is_text(kind):
        return pa.array(values.astype(np.float32) if pa.types.is_float32(kind) else values, kind, mask=null)
    if digits == 0 and np.isfinite(values).all():
        return pa.array(values.astype(np.int64), pa.int64(), mask=null).cast(kind)
    return pa.array(values, pa.float64(), mask=null).cast(kind)


def _mask(column: pa.Array, null: np.ndarray) -> pa.Array:
    if not null.any():
        return column
    # Arrow makes decimals of a negative scale others of scale 0.
    return pc.if_else(pa.array(null), pa.scalar(None, column.type), column).cast(column.type)


def _decimal_digits(column: pa.Array, rule: Protection) -> int:
    """Returns how many digits after the point fit beside the integer part into an int64.

    They do for every value but those that too few subjects have, which are cut to the largest that fits.
    """
    scale = int(column.type.scale)
    if column.type.precision <= 18 or column.null_count == len(column):
        return scale
    bounds = pc.min_max(column)
    if max(_width(bounds[end].as_py(), scale) for end in ("min", "max")) <= _WIDTH:
        return scale
    widths = np.array([0 if value is None else _width(value, scale) for value in column.to_pylist()])
    longer = (width for width in range(_WIDTH, widths.max() + 1))
    fits = next(width for width in longer if rule.shared_by_few(np.flatnonzero(widths > width)))
    return scale - (fits - _WIDTH)


def _width(value: Decimal, scale: int) -> int:
    """Returns how many digits a decimal has in units of its type's last place."""
    return len(str(abs(int(_EXACTLY.scaleb(value, scale)))))


def _words(column: pa.Array) -> np.ndarray:
    """Returns decimal128 values as their two little-endian 64-bit words, `(rows, 2)`."""
    buffer = column.buffers()[1]
    return np.frombuffer(buffer, np.int64)[column.offset * 2 : (column.offset + len(column)) * 2].reshape(
        -1, 2
    )


def _unscaled(column: pa.Array, dropped: int) -> np.ndarray:
    """Returns decimals as whole numbers of their last place, without the lowest `dropped` digits."""
    if not len(column):
        return np.empty(0, np.int64)
    kind, limit = column.type, 2**62
    if dropped == 0 and kind.bit_width == 128:
        low, high = _words(column).T
        wide = np.where(high < 0, -limit, limit)  # unseen values may be beyond all that was learnt
        return np.where(validity(column), np.where(high == low >> 63, low, wide), 0)
    # Only for values beyond 18 digits: exact, one by one.
    whole = [0 if value is None else int(_EXACTLY.scaleb(value, kind.scale)) for value in column.to_pylist()]
    return np.array([max(-limit, min(limit, value // 10**dropped)) for value in whole], np.int64)


def _decimals(values: np.ndarray, null: np.ndarray, kind: pa.DataType, dropped: int) -> pa.Array:
    if dropped == 0 and kind.bit_width == 128:
        words = np.empty((len(values), 2), np.int64)
        words[:, 0], words[:, 1] = values, values >> 63
        column = pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(words.tobytes())])
        return _mask(column, null)
    return pa.array(
        [
            None if gone else _EXACTLY.scaleb(Decimal(int(value) * 10**dropped), -kind.scale)
            for value, gone in zip(values, null, strict=True)
        ],
        kind,
    )
