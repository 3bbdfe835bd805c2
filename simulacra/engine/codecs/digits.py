"""The encoding DIGIT: numbers as their decimal digits."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa

from simulacra.engine.codecs._json import Document
from simulacra.engine.codecs.base import Codec, FitOptions, ValueRange
from simulacra.engine.codecs.numbers import NumberForm, Numbers
from simulacra.engine.codecs.numeric import SPECIAL_STATES, special_states
from simulacra.engine.codecs.protection import Protection

__all__ = ["DigitCodec"]


@dataclass(frozen=True)
class DigitCodec(Codec):
    """A sub-column for the sign (with null and non-finite states), then one per decimal digit, highest first.

    A digit that fewer than k subjects have at its place becomes the nearest one that enough have there.

    Attributes:
        kind: The column's type.
        nullable: Whether null has a code.
        form: How the numbers are held; always integers.
        special: The kept non-finite states.
        low: Protected lower bound, as a whole number of 10^-digits; above `high` when nothing may be known.
        high: Protected upper bound.
        kept: The digits that enough subjects have at each place; none: decoding draws any.
    """

    encoding: ClassVar[str] = "TABULAR_NUMERIC_DIGIT"
    kind: pa.DataType
    nullable: bool
    form: NumberForm
    special: tuple[int, ...]
    low: int
    high: int
    kept: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def fit(cls, column: pa.Array, options: FitOptions) -> Self:
        """Finds the bounds, and so the number of digits."""
        form = NumberForm.fit(column, options.protection)
        if not form.integer:
            form = NumberForm(form.kind, True, _digits_of(form.read(column), options.protection))
        numbers = form.read(column)
        states = options.protection.count(numbers.state, 5)
        special = special_states(numbers, options)
        finite = np.flatnonzero(numbers.present)
        rule, nullable, low, high = options.protection.take(finite), bool(states[1]), 1, 0
        if not rule.hides_all(len(finite)):
            order = finite[np.argsort(numbers.values[finite], kind="stable")]
            bounds = options.protection.take(order).bounds(numbers.values[order])
            low, high = (int(bound) - form.zero for bound in bounds)
        codec = cls(column.type, nullable or (high < low and not special), form, special, low, high)
        digits = codec._digits(numbers)[finite].T
        return replace(codec, kept=tuple(_kept(place, rule) for place in digits))

    @property
    def _signs(self) -> tuple[int, ...]:
        if self.high < self.low:
            return ()
        return (1,) * (self.high >= 0) + (-1,) * (self.low < 0)

    @property
    def _largest(self) -> int:
        return max(abs(self.low), abs(self.high))

    @property
    def _places(self) -> int:
        return len(str(self._largest)) if self.high >= self.low else 0

    @property
    def _offset(self) -> int:
        return int(self.nullable) + len(self.special)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """The sign, then ten per digit and one for the absence of a number; the highest digit is bounded."""
        signs = self._offset + len(self._signs)
        if not self._places:
            return (signs,)
        return (signs, int(str(self._largest)[0]) + 2, *[11] * (self._places - 1))

    @property
    def forbidden(self) -> tuple[tuple[int, int], ...]:
        """The digits that too few subjects have at their place."""
        return tuple(
            (place + 1, digit + 1)
            for place, kept in enumerate(self.kept)
            for digit in range(self.cardinalities[place + 1] - 1)
            if digit not in (kept or (0,))
        )

    def encode(self, column: pa.Array) -> np.ndarray:
        """Splits the values, clipped to the bounds, into digits: d has code d + 1, no number code 0."""
        numbers = self.form.read(column.cast(self.kind) if column.type != self.kind else column)
        codes = np.zeros((len(column), 1 + self._places), np.int32)
        if self._places:
            zero = self.form.zero
            negative = np.clip(numbers.values, self.low + zero, self.high + zero) < zero
            codes[:, 0] = self._offset + (len(self._signs) - 1) * (negative if self._signs[0] == 1 else 0)
            nearest = [np.abs(np.arange(10)[:, None] - [place or (0,)]).argmin(1) for place in self.kept]
            for place, digits in enumerate(self._digits(numbers).T):
                kept = np.array(self.kept[place] or (0,))
                codes[:, place + 1] = kept[nearest[place]][digits] + 1
        for state in (1, *SPECIAL_STATES):
            rows = numbers.state == state
            if state in self.special:
                codes[rows] = 0
                codes[rows, 0] = int(self.nullable) + self.special.index(state)
            elif state in (1, 2) and self.nullable:
                codes[rows] = 0
        return codes

    def _digits(self, numbers: Numbers) -> np.ndarray:
        """Returns the digits of the values, clipped to the bounds, `(rows, places)`."""
        digits = np.empty((len(numbers.values), self._places), np.int64)
        if self._places:
            zero = self.form.zero
            values = np.clip(numbers.values, self.low + zero, self.high + zero)
            distance = values.view(np.uint64) - np.asarray(zero).view(np.uint64)
            rest = np.where(values < zero, np.uint64(0) - distance, distance)
            for place in range(self._places - 1, -1, -1):
                digits[:, place] = rest % np.uint64(10)
                rest = rest // np.uint64(10)
        return digits

    def decode(self, codes: np.ndarray, rng: np.random.Generator) -> pa.Array:
        """Puts the digits together and clips to the bounds."""
        first = codes[:, 0].astype(np.int64)
        state = np.zeros(len(codes), np.int8)
        if self.nullable:
            state[first == 0] = 1
        for position, special in enumerate(self.special):
            state[first == position + int(self.nullable)] = special
        if not self._places:
            return self.form.write(Numbers(np.full(len(codes), self.form.zero), state))
        digits = (codes[:, 1:].astype(np.int64) - 1).clip(min=0).astype(np.uint64)
        for place, kept in enumerate(self.kept):
            if not kept:
                digits[:, place] = rng.integers(0, self.cardinalities[place + 1] - 1, len(codes))
        leading = np.uint64(self._largest)
        values = digits[:, 0]
        for place in range(1, self._places):  # stop short of what 64 bits cannot hold
            values = np.minimum(values, leading // np.uint64(10 ** (self._places - place))) * np.uint64(10)
            values = values + digits[:, place]
        values = np.minimum(values, leading)
        negative = np.array(self._signs)[(first - self._offset).clip(0, len(self._signs) - 1)] < 0
        signed = np.where(negative, np.uint64(0) - values, values) + np.asarray(self.form.zero).view(
            np.uint64
        )
        bounds = self.low + self.form.zero, self.high + self.form.zero
        return self.form.write(Numbers(np.clip(signed.view(np.int64), *bounds), state))

    def unknown(self, column: pa.Array) -> np.ndarray:
        """Says which values lie outside of the protected range."""
        numbers = self.form.read(column.cast(self.kind) if column.type != self.kind else column)
        bounds = np.array([self.low + self.form.zero, self.high + self.form.zero])
        # As the column's type holds them: they may have no float32 of their own.
        low, high = self.form.read(self.form.write(Numbers(bounds, np.zeros(2, np.int8)))).values
        known = (numbers.values >= low) & (numbers.values <= high) & numbers.present
        unknown: np.ndarray = ~(known | (numbers.state == 1) | np.isin(numbers.state, self.special))
        return unknown

    def value_range(self) -> ValueRange:
        """Returns the protected bounds."""
        if self.high < self.low:
            return ValueRange(has_null=self.nullable)
        low, high = (self.form.text(np.int64(bound + self.form.zero)) for bound in (self.low, self.high))
        return ValueRange(min=low, max=high, has_null=self.nullable)

    def to_json(self) -> dict[str, Any]:
        """Returns the form and the bounds."""
        return {
            "form": self.form.to_json(),
            "special": list(self.special),
            "low": self.low,
            "high": self.high,
            "kept": [list(place) for place in self.kept],
        }

    @classmethod
    def from_json(cls, document: Document, kind: pa.DataType, nullable: bool) -> Self:
        """Reads a codec."""
        form = NumberForm.from_json(document.child("form"), kind)
        special = document.items("special")
        limits = -(2**63) - form.zero, 2**63 - 1 - form.zero
        low, high = (document.integer(key, *limits) for key in ("low", "high"))
        kept = tuple(tuple(place) for place in document.items("kept") if isinstance(place, list))
        codec = cls(kind, nullable, form, tuple(special), low, high, kept)
        known = special == [s for s in SPECIAL_STATES if s in special]
        known = known and (not special or form.fractional)
        if not known or not form.integer or codec.cardinalities[0] < 1:
            raise document.fail("form", "is not one of digits")
        possible = (range(size - 1) for size in codec.cardinalities[1:])
        if len(kept) != codec._places or any(
            list(place) != [digit for digit in digits if digit in place]
            for place, digits in zip(kept, possible, strict=True)
        ):
            raise document.fail("kept", "are not the digits of each place")
        return codec


def _digits_of(numbers: Numbers, rule: Protection) -> int:
    """Returns the digits after the point that leave 9 to 15 significant ones of the largest value."""
    present = np.flatnonzero(numbers.present)
    order = present[np.argsort(numbers.values[present], kind="stable")]
    if rule.take(order).hides_all(len(order)):
        return 0
    with np.errstate(over="ignore"):
        bounds = np.abs(rule.take(order).bounds(numbers.values[order]))
    largest = min(float(bounds.max()), float(np.finfo(np.float64).max))
    magnitude = int(np.floor(np.log10(max(largest, 1e-280))))
    return min(14 - magnitude, max(8, 8 - magnitude))


def _kept(digits: np.ndarray, rule: Protection) -> tuple[int, ...]:
    """Returns the digits of one place that enough subjects have; none if most rows have others."""
    counts = rule.count(digits, 10)
    kept = np.flatnonzero((counts > 0) & (counts >= rule.threshold))
    return tuple(kept.tolist()) if np.isin(digits, kept).mean() >= 0.5 else ()
