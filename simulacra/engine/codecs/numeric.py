"""The numeric encodings: DISCRETE, BINNED, DIGIT, and AUTO, which chooses by the values."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa

from simulacra.engine.codecs._json import Document
from simulacra.engine.codecs.base import MAX_RANGE_VALUES, Codec, FitOptions, ValueRange
from simulacra.engine.codecs.categorical import CategoricalCodec
from simulacra.engine.codecs.cells import Cells
from simulacra.engine.codecs.numbers import NumberForm, Numbers

__all__ = ["BinnedCodec", "DigitCodec", "DiscreteCodec", "fit_numeric"]

_SPECIAL_STATES = (2, 3, 4)
_SPECIAL_NAMES = {2: "NaN", 3: "-inf", 4: "inf"}


def fit_numeric(column: pa.Array, options: FitOptions) -> "Codec":
    """Fits NUMERIC_AUTO: DISCRETE when the supported values are few and nearly all there is, else BINNED.

    BINNED keeps frequent values and grids as they are, so digits bring nothing that it does not; DIGIT is
    never chosen.
    """
    binned = BinnedCodec.fit(column, options)
    cells = binned.cells
    if not binned.form.exact and len(column.unique()) <= options.max_atoms:
        return CategoricalCodec.fit(column, options)
    if cells is None or len(cells.bases) or not len(cells.atoms):
        return binned
    return DiscreteCodec(binned.kind, binned.nullable, binned.form, binned.special, cells, binned.popularity)


@dataclass(frozen=True)
class BinnedCodec(Codec):
    """One sub-column: null (if nullable), NaN and infinities (where frequent enough), then the cells.

    Attributes:
        kind: The column's type.
        nullable: Whether null has a code.
        form: How the numbers are held.
        special: The kept non-finite states of `Numbers`, in the order of their codes.
        cells: The partition of the finite values; None when nothing may be known about them.
        popularity: The atoms by falling number of rows.
    """

    encoding: ClassVar[str] = "TABULAR_NUMERIC_BINNED"
    kind: pa.DataType
    nullable: bool
    form: NumberForm
    special: tuple[int, ...]
    cells: Cells | None
    popularity: tuple[int, ...]

    @classmethod
    def fit(cls, column: pa.Array, options: FitOptions) -> Self:
        """Partitions the values."""
        return cls._fit(column, options, discrete=False)

    @classmethod
    def _fit(cls, column: pa.Array, options: FitOptions, *, discrete: bool) -> Self:
        codec = cls._fit_form(column, options, NumberForm.fit(column, options.protection), discrete=discrete)
        if codec.cells is not None and not codec.cells.finite:
            codec = cls._fit_form(column, options, replace(codec.form, huge=True), discrete=discrete)
        return codec

    @classmethod
    def _fit_form(cls, column: pa.Array, options: FitOptions, form: NumberForm, *, discrete: bool) -> Self:
        numbers = form.read(column)
        finite = numbers.present
        states = options.protection.count(numbers.state, 5)
        special = _special(numbers, options)
        everything = finite.all()
        values = numbers.values if everything else numbers.values[finite]
        rule = options.protection if everything else options.protection.take(finite)
        with np.errstate(over="ignore", invalid="ignore"):
            cells = Cells.fit(values, rule, max_atoms=options.max_atoms, discrete=discrete)
        popularity: tuple[int, ...] = ()
        if cells is not None and not len(cells.bases):
            counts = np.bincount(cells.encode(values), minlength=cells.size)
            popularity = tuple(np.argsort(-counts, kind="stable").tolist())
        nullable = bool(states[1]) or (cells is None and not special)
        return cls(column.type, nullable, form, special, cells, popularity)

    @property
    def _first(self) -> int:
        return int(self.nullable) + len(self.special)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """One sub-column."""
        return (self._first + (self.cells.size if self.cells else 0),)

    @property
    def places(self) -> tuple[np.ndarray | None, ...]:
        """The cells' places; null, NaN and infinities have none."""
        if self.cells is None:
            return (None,)
        return (np.concatenate([np.full(self._first, np.nan), self.cells.places]),)

    def encode(self, column: pa.Array) -> np.ndarray:
        """Finds each value's cell; a non-finite value without a code of its own goes to the nearest code."""
        numbers = self.form.read(column.cast(self.kind) if column.type != self.kind else column)
        if self.cells is None:
            codes = np.zeros(len(column), np.int64)
        else:
            codes = self._first + self.cells.encode(numbers.values)
        for state in (1, *_SPECIAL_STATES):
            rows = numbers.state == state
            if rows.any():
                codes[rows] = self._code_of(state)
        return codes.astype(np.int32)[:, None]

    def _code_of(self, state: int) -> int:
        """Returns the code of a state that is not finite, or of the nearest thing that has one."""
        if state in self.special:
            return int(self.nullable) + self.special.index(state)
        if self.cells is None or state in (1, 2):
            return 0
        bound = self.cells.low if state == 3 else self.cells.high
        return self._first + int(self.cells.encode(np.array([bound]))[0])

    def decode(self, codes: np.ndarray, rng: np.random.Generator) -> pa.Array:
        """Draws a value within each code's cell."""
        codes = codes[:, 0].astype(np.int64)
        state = np.zeros(len(codes), np.int8)
        if self.nullable:
            state[codes == 0] = 1
        for position, special in enumerate(self.special):
            state[codes == position + int(self.nullable)] = special
        values = np.zeros(len(codes), np.int64 if self.form.integer else np.float64)
        if self.cells is not None:
            finite = codes >= self._first
            if finite.all():
                values = self.cells.decode(codes - self._first, rng)
            else:
                values[finite] = self.cells.decode(codes[finite] - self._first, rng)
        return self.form.write(Numbers(values, state))

    def unknown(self, column: pa.Array) -> np.ndarray:
        """Says which values lie outside of the protected range."""
        numbers = self.form.read(column.cast(self.kind) if column.type != self.kind else column)
        known = (numbers.state == 1) | np.isin(numbers.state, self.special)
        if self.cells is not None:
            inside = (numbers.values >= self.cells.low) & (numbers.values <= self.cells.high)
            known |= inside & numbers.present
        unknown: np.ndarray = ~known
        return unknown

    def value_range(self) -> ValueRange:
        """Returns the protected bounds."""
        if self.cells is None:
            return ValueRange(has_null=self.nullable)
        return ValueRange(
            min=self.form.text(self.cells.low), max=self.form.text(self.cells.high), has_null=self.nullable
        )

    def to_json(self) -> dict[str, Any]:
        """Returns the form and the cells."""
        return {
            "form": self.form.to_json(),
            "special": list(self.special),
            "cells": self.cells.to_json() if self.cells else None,
            "popularity": list(self.popularity),
        }

    @classmethod
    def from_json(cls, document: Document, kind: pa.DataType, nullable: bool) -> Self:
        """Reads a codec."""
        form = NumberForm.from_json(document.child("form"), kind)
        special = document.items("special")
        if special != [s for s in _SPECIAL_STATES if s in special] or (
            special and not pa.types.is_floating(kind)
        ):
            raise document.fail("special", "unknown states")
        cells = Cells.from_json(document.child("cells")) if "cells" in document else None
        if cells is not None and (cells.atoms.dtype == np.int64) != form.integer:
            raise document.fail("cells", "are of another kind than the form")
        popularity = tuple(document.array("popularity", np.int64, (None,)).tolist())
        if any(not 0 <= code < (len(cells.atoms) if cells else 0) for code in popularity):
            raise document.fail("popularity", "names no atom")
        codec = cls(kind, nullable, form, tuple(special), cells, popularity)
        if codec.cardinalities[0] < 1:
            raise document.fail("cells", "no codes")
        return codec


@dataclass(frozen=True)
class DiscreteCodec(BinnedCodec):
    """As BINNED, but without bins: supported values are codes, others go to the nearest of them."""

    encoding: ClassVar[str] = "TABULAR_NUMERIC_DISCRETE"

    @classmethod
    def fit(cls, column: pa.Array, options: FitOptions) -> Self:
        """Keeps the supported values; when there is none (all differ) it falls back to bins."""
        return cls._fit(column, options, discrete=True)

    def unknown(self, column: pa.Array) -> np.ndarray:
        """Says which values were not seen often enough to be a code."""
        unknown = super().unknown(column)
        if self.cells is not None and not len(self.cells.bases):
            numbers = self.form.read(column.cast(self.kind) if column.type != self.kind else column)
            unknown |= numbers.present & ~np.isin(numbers.values, self.cells.atoms)
        return unknown

    def labels(self) -> list[str]:
        """Returns a text for each code; that of a bin, where all values differ, is its lowest value."""
        names = ["null"] * self.nullable + [_SPECIAL_NAMES[state] for state in self.special]
        if self.cells is None:
            return names
        return names + [self.form.text(value) for value in (*self.cells.atoms, *self.cells.bases)]

    def value_range(self) -> ValueRange:
        """Returns the values by popularity."""
        if self.cells is None or len(self.cells.bases):
            return super().value_range()
        codes = np.array(self.popularity[:MAX_RANGE_VALUES], np.int64)
        values = tuple(self.form.text(value) for value in self.cells.atoms[codes])
        return ValueRange(values=values, has_null=self.nullable)


@dataclass(frozen=True)
class DigitCodec(Codec):
    """A sub-column for the sign (with null and non-finite states), then one per decimal digit, highest first.

    Attributes:
        kind: The column's type.
        nullable: Whether null has a code.
        form: How the numbers are held; always integers.
        special: The kept non-finite states.
        low: Protected lower bound, as a whole number of 10^-digits; above `high` when nothing may be known.
        high: Protected upper bound.
    """

    encoding: ClassVar[str] = "TABULAR_NUMERIC_DIGIT"
    kind: pa.DataType
    nullable: bool
    form: NumberForm
    special: tuple[int, ...]
    low: int
    high: int

    @classmethod
    def fit(cls, column: pa.Array, options: FitOptions) -> Self:
        """Finds the bounds, and so the number of digits."""
        form = NumberForm.fit(column, options.protection)
        if not form.integer:
            form = NumberForm(form.kind, True, _digits_of(form.read(column)))
        numbers = form.read(column)
        states = options.protection.count(numbers.state, 5)
        special = _special(numbers, options)
        finite = np.flatnonzero(numbers.present)
        rule, nullable, low, high = options.protection.take(finite), bool(states[1]), 1, 0
        if not rule.hides_all(len(finite)):
            order = finite[np.argsort(numbers.values[finite], kind="stable")]
            bounds = options.protection.take(order).bounds(numbers.values[order])
            low, high = (int(bound) - form.zero for bound in bounds)
        return cls(column.type, nullable or (high < low and not special), form, special, low, high)

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

    def encode(self, column: pa.Array) -> np.ndarray:
        """Splits the values, clipped to the bounds, into digits: d has code d + 1, no number code 0."""
        numbers = self.form.read(column.cast(self.kind) if column.type != self.kind else column)
        codes = np.zeros((len(column), 1 + self._places), np.int32)
        if self._places:
            zero = self.form.zero
            values = np.clip(numbers.values, self.low + zero, self.high + zero)
            negative = values < zero
            codes[:, 0] = self._offset + (len(self._signs) - 1) * (negative if self._signs[0] == 1 else 0)
            distance = values.view(np.uint64) - np.asarray(zero).view(np.uint64)
            rest = np.where(negative, np.uint64(0) - distance, distance)
            for place in range(self._places, 0, -1):
                codes[:, place] = rest % np.uint64(10) + np.uint64(1)
                rest = rest // np.uint64(10)
        for state in (1, *_SPECIAL_STATES):
            rows = numbers.state == state
            if state in self.special:
                codes[rows] = 0
                codes[rows, 0] = int(self.nullable) + self.special.index(state)
            elif state in (1, 2) and self.nullable:
                codes[rows] = 0
        return codes

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
        }

    @classmethod
    def from_json(cls, document: Document, kind: pa.DataType, nullable: bool) -> Self:
        """Reads a codec."""
        form = NumberForm.from_json(document.child("form"), kind)
        special = document.items("special")
        limits = -(2**63) - form.zero, 2**63 - 1 - form.zero
        low, high = (document.integer(key, *limits) for key in ("low", "high"))
        codec = cls(kind, nullable, form, tuple(special), low, high)
        known = special == [s for s in _SPECIAL_STATES if s in special]
        known = known and not (special and not pa.types.is_floating(kind))
        if not known or not form.integer or codec.cardinalities[0] < 1:
            raise document.fail("form", "is not one of digits")
        return codec


def _special(numbers: Numbers, options: FitOptions) -> tuple[int, ...]:
    """Returns the states that are no finite numbers and that enough subjects share."""
    there = numbers.state != 1
    if options.protection.take(there).hides_all(int(there.sum())):
        return ()
    counts = options.protection.count(numbers.state, 5)
    return tuple(s for s in _SPECIAL_STATES if counts[s] and counts[s] >= options.protection.threshold)


def _digits_of(numbers: Numbers) -> int:
    """Returns the digits after the point that leave about 15 significant ones."""
    largest = np.abs(numbers.values[numbers.present]).max(initial=1e-8)
    return int(np.clip(14 - np.floor(np.log10(max(largest, 1e-300))), 0, 8))
