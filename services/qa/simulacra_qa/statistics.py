"""What is kept of a training table so that later synthetic data can be judged without it: protected counts.

A label stands for a category, a number or an interval. No label names what fewer than `RARE_BELOW` training
rows hold, no bound lies among the `EXTREMES` smallest or largest values, and a cell of fewer than
`RARE_BELOW` rows is counted with all other such cells of its table only, as `rest`.
"""

import math
from itertools import combinations
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from simulacra.errors import CorruptBundle
from simulacra_qa.evaluation import Evaluation
from simulacra_qa.metrics.accuracy import Counts
from simulacra_qa.metrics.bins import MISSING, OTHER, RARE_BELOW, Bins
from simulacra_qa.metrics.columns import Column, Kind
from simulacra_qa.metrics.labels import axis
from simulacra_qa.metrics.profile import Profile

__all__ = ["STATISTICS_FILE", "Cells", "ColumnStatistics", "DensityStatistics", "Statistics", "statistics_of"]

STATISTICS_FILE = "statistics.json"
_DIGITS = 4
_MOST_COLUMNS, _MOST_ROWS, _MOST_BYTES = 20_000, 10_000_000, 1 << 29


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Cells(_Strict):
    """A table of counts over labels, of one column or row by row of two; cells of few rows are in `rest`."""

    counts: list[int]
    rest: int = 0


class DensityStatistics(_Strict):
    """A number's relative frequencies on an equally spaced grid between two protected bounds."""

    low: float
    high: float
    shares: list[float]


class ColumnStatistics(_Strict):
    """One column.

    Attributes:
        name: Of the column.
        kind: Whether it holds numbers, points in time or categories.
        labels: What people read; the last two are missing and other values.
        cuts: The bounds between the intervals that the first labels stand for, of a column of intervals.
        values: The numbers that the first labels stand for, of a column of few distinct numbers.
        cells: The training rows by label.
        missing: The share of missing training values.
        density: How the numbers are distributed, but for extremes.
    """

    name: str
    kind: Kind
    labels: list[str]
    cuts: list[float] = []
    values: list[float] = []
    cells: Cells
    missing: float
    density: DensityStatistics | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        named = len(self.labels) - 2
        expected = len(self.cuts) + 1 if self.cuts else len(self.values) or named
        if self.labels[-2:] != [MISSING, OTHER] or named != expected or len(self.cells.counts) != named + 2:
            raise ValueError(f"the labels of column {self.name!r} do not fit its counts")
        return self

    def codes(self, column: Column) -> npt.NDArray[np.int16]:
        """Returns the position of each value's label."""
        missing, other = len(self.labels) - 2, len(self.labels) - 1
        if self.kind is Kind.CATEGORICAL:
            place = {label: position for position, label in enumerate(self.labels[:-2])}
            lookup = [place.get(category or _EMPTY, other) for category in column.categories]
            return np.array([*lookup, missing], np.int16)[column.values.astype(np.int64)]
        values = np.asarray(column.values, np.float64)
        if self.cuts:
            found = np.searchsorted(np.array(self.cuts), values, side="right")
        else:
            known = np.array([*self.values, np.inf])
            found = np.searchsorted(known, values)
            found = np.where(known[np.minimum(found, len(known) - 1)] == values, found, other)
        return np.where(np.isnan(values), missing, found).astype(np.int16)


_EMPTY = "(empty)"


class Statistics(_Strict):
    """All columns of a table, and its pairs of columns in the order of `itertools.combinations`."""

    format: int = 1
    rows: int
    columns: list[ColumnStatistics]
    pairs: list[Cells]
    associations: list[float]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.columns) > _MOST_COLUMNS:
            raise ValueError(f"there are {len(self.columns)} columns")
        sizes = [len(column.labels) for column in self.columns]
        expected = [a * b for a, b in combinations(sizes, 2)]
        if [len(pair.counts) for pair in self.pairs] != expected or len(self.associations) != len(expected):
            raise ValueError("the pairs do not fit the columns")
        if not 0 < self.rows <= _MOST_ROWS:
            raise ValueError(f"there are {self.rows} rows")
        for cells in (*(column.cells for column in self.columns), *self.pairs):
            if min(*cells.counts, cells.rest) < 0 or sum(cells.counts) + cells.rest > self.rows:
                raise ValueError("there are more or less counts than rows")
        return self

    def to_bytes(self) -> bytes:
        """Returns the statistics as JSON."""
        return self.model_dump_json(exclude_none=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Statistics":
        """Reads what `to_bytes` wrote.

        Raises:
            CorruptBundle: It is something else, such as a part of an imported generator that was changed.
        """
        if len(data) > _MOST_BYTES:
            raise CorruptBundle(f"the statistics of the model have {len(data)} bytes, more than are read")
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise CorruptBundle(
                f"the statistics of the model cannot be read: {error.errors()[0]['msg']}"
            ) from error


def statistics_of(evaluation: Evaluation) -> Statistics:
    """Returns the protected statistics of an evaluation's training table, without those of its context."""
    width = len(evaluation.marginals.univariate)
    groups = [_Grouping.of(evaluation, position) for position in range(width)]
    counts = evaluation.marginals.counts
    columns = [
        _column(evaluation, position, grouping, groups[position].regrouped(counts[(position,)][0]))
        for position, grouping in enumerate(groups)
    ]
    pairs = []
    for first, second in combinations(range(width), 2):
        sizes = [evaluation.data.bins[position].size for position in (first, second)]
        table = groups[second].regrouped(counts[(first, second)][0].reshape(sizes))
        pairs.append(_cells(np.moveaxis(groups[first].regrouped(np.moveaxis(table, 0, -1)), -1, 0)))
    upper, associations = np.triu_indices(width, 1), evaluation.association_training[:width, :width]
    return Statistics(
        rows=evaluation.rows[0],
        columns=columns,
        pairs=pairs,
        associations=[round(float(value), _DIGITS) for value in associations[upper]],
    )


class _Grouping:
    """How a column's bins become labels that training rows alone justify."""

    def __init__(self, labels: list[str], place: npt.NDArray[np.int64], bins: Bins) -> None:
        self.labels = [*labels, MISSING, OTHER]
        self.place = place
        self.cuts: list[float] = []
        self.values: list[float] = []
        if bins.kind is Kind.CATEGORICAL:
            return
        named = list(zip(bins.edges, place[1:].tolist(), strict=False))
        starts = [next((edge for edge, label in named if label == n), 0.0) for n in range(len(labels))]
        if bins.exact:
            self.values = starts
        else:
            self.cuts = starts[1:]

    @classmethod
    def of(cls, evaluation: Evaluation, position: int) -> "_Grouping":
        bins = evaluation.data.bins[position]
        training = evaluation.marginals.counts[(position,)][0]
        shown = axis(bins, np.stack([training, np.zeros_like(training), np.zeros_like(training)]))
        rows = shown.shown(training)
        interval = bins.kind is not Kind.CATEGORICAL and not bins.exact
        kept = [
            label
            for label, count in zip(shown.labels, rows, strict=True)
            if label not in (MISSING, OTHER) and (interval or count >= RARE_BELOW)
        ]
        missing, other = len(kept), len(kept) + 1
        places = {label: number for number, label in enumerate(kept)} | {MISSING: missing, OTHER: other}
        place = np.array([places.get(shown.labels[i], other) if i >= 0 else other for i in shown.place])
        if bins.kind is not Kind.CATEGORICAL:
            place[0] = missing
        return cls(kept, place, bins)

    def regrouped(self, counts: Counts) -> Counts:
        """Adds up counts (..., bins) by label: (..., labels)."""
        result = np.zeros((*counts.shape[:-1], len(self.labels)), np.int64)
        for code, label in enumerate(self.place):
            result[..., label] += counts[..., code]
        return result


def _column(evaluation: Evaluation, position: int, grouping: _Grouping, counts: Counts) -> ColumnStatistics:
    profile = evaluation.profiles[position]
    return ColumnStatistics(
        name=evaluation.columns[position],
        kind=evaluation.data.bins[position].kind,
        labels=grouping.labels,
        cuts=grouping.cuts,
        values=grouping.values,
        cells=_cells(counts),
        missing=round(profile.missing[0], _DIGITS),
        density=_density(profile),
    )


def _cells(counts: Counts) -> Cells:
    few = (counts > 0) & (counts < RARE_BELOW)
    rest = int(counts[few].sum())
    kept: list[int] = np.where(few, 0, counts).ravel().tolist()
    return Cells(counts=kept, rest=rest if rest >= RARE_BELOW else 0)


def _density(profile: Profile) -> DensityStatistics | None:
    found = profile.density
    if found is None or not found.training.sum():
        return None
    shares: Any = np.round(found.training / found.training.sum(), _DIGITS + 2).tolist()
    # A bound is a record's value, if a common one: it is rounded to a thousandth of the range.
    step = 10.0 ** math.floor(math.log10((found.high - found.low) / 1000))
    low, high = (round(bound / step) * step for bound in (found.low, found.high))
    return DensityStatistics(low=low, high=high, shares=shares)
