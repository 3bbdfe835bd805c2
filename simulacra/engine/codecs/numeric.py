"""The numeric encodings DISCRETE and BINNED, and AUTO, which chooses by the values."""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa

from simulacra.engine.codecs._json import Document
from simulacra.engine.codecs.base import MAX_RANGE_VALUES, Codec, FitOptions, ValueRange
from simulacra.engine.codecs.categorical import CategoricalCodec
from simulacra.engine.codecs.cells import Cells
from simulacra.engine.codecs.numbers import NumberForm, Numbers
from simulacra.engine.codecs.protection import Protection

__all__ = ["SPECIAL_STATES", "BinnedCodec", "DiscreteCodec", "fit_numeric", "special_states"]

SPECIAL_STATES = (2, 3, 4)
_SPECIAL_NAMES = {2: "NaN", 3: "-inf", 4: "inf"}
_LEAST_ATOMS, _MOST_ATOMS = 20, 100


def fit_numeric(column: pa.Array, options: FitOptions) -> "Codec":
    """Fits NUMERIC_AUTO: DISCRETE when the supported values are few and nearly all there is, else BINNED.

    BINNED keeps frequent values and grids as they are, so digits bring nothing that it does not; DIGIT is
    never chosen.
    """
    binned = BinnedCodec.fit(column, options)
    cells = binned.cells
    most = _MOST_ATOMS if options.max_atoms is None else options.max_atoms
    if not binned.form.exact and len(column.unique()) <= most:
        return CategoricalCodec.fit(column, options)
    if cells is None or len(cells.bases) or not len(cells.atoms):
        return binned
    return DiscreteCodec(binned.kind, binned.nullable, binned.form, binned.special, cells, binned.popularity)


def _max_atoms(options: FitOptions, rule: Protection, rows: int) -> int:
    """Returns up to how many distinct numbers are each a code of their own.

    Few rows say little about each of many values, and much about the bins that these fall into.
    """
    if options.max_atoms is not None:
        return options.max_atoms
    if not rule.enabled:
        return _MOST_ATOMS
    return min(max(math.isqrt(rule.people(rows)), _LEAST_ATOMS), _MOST_ATOMS)


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
        special = special_states(numbers, options)
        everything = finite.all()
        values = numbers.values if everything else numbers.values[finite]
        rule = options.protection if everything else options.protection.take(finite)
        most = _max_atoms(options, rule, len(values))
        with np.errstate(over="ignore", invalid="ignore"):
            cells = Cells.fit(values, rule, max_atoms=most, discrete=discrete)
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
        for state in (1, *SPECIAL_STATES):
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
            low, high = self._as_held(np.array([self.cells.low, self.cells.high]))
            known |= (numbers.values >= low) & (numbers.values <= high) & numbers.present
        unknown: np.ndarray = ~known
        return unknown

    def _as_held(self, values: np.ndarray) -> np.ndarray:
        """Returns values as the column's type holds them: a mean may have no float32 of its own."""
        return self.form.read(self.form.write(Numbers(values, np.zeros(len(values), np.int8)))).values

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
        if special != [s for s in SPECIAL_STATES if s in special] or (special and not form.fractional):
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
            unknown |= numbers.present & ~np.isin(numbers.values, self._as_held(self.cells.atoms))
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


def special_states(numbers: Numbers, options: FitOptions) -> tuple[int, ...]:
    """Returns the states that are no finite numbers and that enough subjects share."""
    there = numbers.state != 1
    if options.protection.take(there).hides_all(int(there.sum())):
        return ()
    counts = options.protection.count(numbers.state, 5)
    return tuple(s for s in SPECIAL_STATES if counts[s] and counts[s] >= options.protection.threshold)
