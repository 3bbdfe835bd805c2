"""Samples of equal size from training, holdout and synthetic data, as what the tests on whole records need.

As points, numbers and points in time become their rank in the original data, and a category a corner of a
simplex, so that the largest difference in any one column counts 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from simulacra_qa.metrics.columns import Column, Kind
from simulacra_qa.metrics.nearest import Features

__all__ = ["Records"]

MOST_RECORDS = 10_000
_ONE_HOT_UP_TO = 12
_CODE_WIDTH = 8
_MOST_CATEGORIES = 200

Floats = npt.NDArray[np.float64]
Rows: TypeAlias = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]


@dataclass(slots=True)
class Records:
    """The sampled records as points, fed column by column, so that there is no second copy of the data.

    `picks` are the rows of the sampled records; `matched` are these and others up to the size of the smallest
    part: identical records are looked for among them, which costs little.
    """

    picks: Rows
    matched: Rows
    original_rows: int
    rng: np.random.Generator
    _features: list[Features] = field(default_factory=list)
    _values: list[Floats] = field(default_factory=list)
    _categorical: list[bool] = field(default_factory=list)
    _identity: npt.NDArray[np.uint64] | None = None

    @classmethod
    def sampled(
        cls,
        rows: tuple[int, int, int],
        rng: np.random.Generator,
        candidates: Sequence[npt.NDArray[np.int64]] | None = None,
    ) -> "Records | None":
        """Draws equally many records of each part, in random order; None if a part is empty.

        Args:
            rows: The rows of each part.
            rng: Draws.
            candidates: The rows of each part, numbered through all, that may be drawn; all if absent.
        """
        ends = np.cumsum(rows)
        parts = np.split(np.arange(ends[-1]), ends[:2]) if candidates is None else candidates
        smallest = min(len(part) for part in parts)
        if smallest < 1:
            return None
        size = min(smallest, MOST_RECORDS)
        picks = [part[rng.choice(len(part), size, replace=False)] for part in parts]
        matched = picks
        if size < smallest:
            others = [np.setdiff1d(part, picked) for part, picked in zip(parts, picks, strict=True)]
            more = [part[rng.choice(len(part), smallest - size, replace=False)] for part in others]
            matched = [np.concatenate(both) for both in zip(picks, more, strict=True)]
        return cls(
            (picks[0], picks[1], picks[2]), (matched[0], matched[1], matched[2]), rows[0] + rows[1], rng
        )

    def add(self, column: Column) -> None:
        """Adds one column."""
        matched = _bits(column.values[np.concatenate(self.matched)])
        if self._identity is None:
            self._identity = np.zeros(len(matched), np.uint64)
        self._identity = _mixed(self._identity, matched.view(np.uint64))
        picked = column.values[np.concatenate(self.picks)]
        bits = _bits(picked)
        self._categorical.append(column.kind is Kind.CATEGORICAL)
        if column.kind is Kind.CATEGORICAL:
            self._values.append(np.where(bits < 0, np.nan, bits))
            self._features.append(_simplex(picked.astype(np.int64), len(column.categories), self.rng))
        else:
            self._values.append(bits)
            self._features.append(_ranks(column.values[: self.original_rows].astype(np.float64), bits))

    @property
    def size(self) -> int:
        """How many records of each part there are."""
        return len(self.picks[0])

    @property
    def categorical(self) -> npt.NDArray[np.bool_]:
        """Which columns are categories."""
        return np.array(self._categorical)

    def values(self) -> list[Floats]:
        """Returns each part's values (records, columns): numbers, or positions of categories; or NaN."""
        return np.split(np.stack(self._values, axis=1), 3)

    def blocks(self) -> list[list[Features]]:
        """Returns each part's points apart by column: the coordinates (records, n) that a column adds."""
        by_column = [np.split(block, 3) for block in self._features]
        return [[parts[i] for parts in by_column] for i in range(3)]

    def points(self) -> list[Features]:
        """Returns the points of training, holdout and synthetic records."""
        return np.split(np.concatenate(self._features, axis=1), 3)

    def cells(self, most: int) -> tuple[list[Floats], npt.NDArray[np.bool_]]:
        """Returns at most so many records of each part as numbers, and which columns are categories.

        Missing is NaN; categories are numbered by frequency, the rarest alike.
        """
        cells = [
            _by_frequency(values) if categorical else values
            for values, categorical in zip(self._values, self._categorical, strict=True)
        ]
        return [part[:most] for part in np.split(np.stack(cells, axis=1), 3)], self.categorical

    def identities(self) -> list[npt.NDArray[np.uint64]]:
        """Returns a hash of every matched record's exact values: training, holdout, synthetic records."""
        assert self._identity is not None
        return np.split(self._identity, 3)


def _bits(values: npt.NDArray[np.float64] | npt.NDArray[np.int32]) -> Floats:
    bits: Floats = values.astype(np.float64) + 0.0  # -0.0 is 0.0
    bits[np.isnan(bits)] = np.nan
    return bits


def _mixed(state: npt.NDArray[np.uint64], bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    # The finaliser of SplitMix64 on state and value.
    z = (state * np.uint64(0x9E3779B97F4A7C15)) ^ (bits + np.uint64(0xD1B54A32D192ED03))
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: npt.NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed


def _ranks(original: Floats, values: Floats) -> Features:
    ordered = np.sort(original[~np.isnan(original)])
    if not len(ordered):
        return np.isnan(values)[:, None].astype(np.float32)
    below = np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")
    missing = np.isnan(values)
    rank = np.where(missing, 0.5, below / (2 * len(ordered)))
    both = (rank, missing) if missing.any() else (rank,)
    return np.stack(both, axis=1).astype(np.float32)


def _simplex(codes: npt.NDArray[np.int64], categories: int, rng: np.random.Generator) -> Features:
    # Missing (-1) is the last category.
    if categories < _ONE_HOT_UP_TO:
        corners = np.eye(categories + 1)
    else:
        # Too many corners: random directions are nearly orthogonal, and equal only for equal categories.
        corners = rng.standard_normal((categories + 1, _CODE_WIDTH))
        corners /= np.linalg.norm(corners, axis=1, keepdims=True)
    points: Features = (corners[codes] / np.sqrt(2)).astype(np.float32)
    return points


def _by_frequency(values: Floats) -> Floats:
    codes = np.where(np.isnan(values), -1, values).astype(np.int64)
    counts = np.bincount(codes + 1)
    place = np.empty(len(counts), np.int64)
    place[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    numbers = np.minimum(place[codes + 1], _MOST_CATEGORIES).astype(np.float64)
    numbers[codes < 0] = np.nan
    return numbers
