"""Discretises columns: ten bins of equal mass for numbers and times, the ten most frequent categories else.

Bins are fitted on the original data (training and holdout) and used for the synthetic data as they are. What
a person may read of a bin is its *label*, and labels are protected: no category of fewer than `RARE_BELOW`
rows is named, and no bound lies among the `EXTREMES` smallest or largest values.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulacra_qa.metrics.columns import Column, Kind

__all__ = [
    "EXTREMES",
    "MISSING",
    "OTHER",
    "RARE_BELOW",
    "Bins",
    "Codes",
    "discretise",
    "fit_bins",
    "protected_bounds",
]

BIN_COUNT = 10
RARE_BELOW = 5
EXTREMES = 10
MISSING, EMPTY, RARE_TOKEN, OTHER = "(n/a)", "(empty)", "_RARE_", "(other)"
_SEARCH_UP_TO = 1000
_MOST_DECIMALS = 20

Codes = npt.NDArray[np.int16]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bins:
    """One column's partition into `size` bins.

    Numbers: bin 0 is missing, bin i holds edges[i - 1] <= value < edges[i], the last bin everything above;
        what lies below the first edge counts in bin 1; `exact` says that each bin holds one distinct value of
        the original.
    Categories: bin i is categories[i].
    """

    name: str
    kind: Kind
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    integral: bool = False
    exact: bool = False

    @property
    def size(self) -> int:
        """How many bins there are."""
        return len(self.categories) if self.kind is Kind.CATEGORICAL else max(len(self.edges), 1) + 1


def fit_bins(column: Column, rows: int) -> Bins:
    """Fits the bins on the first `rows` values, those of the original data."""
    if column.kind is Kind.CATEGORICAL:
        return Bins(column.name, column.kind, categories=_frequent(column, rows))
    values = np.asarray(column.values[:rows], np.float64)
    ordered = np.sort(values[~np.isnan(values)])
    distinct = _distinct(ordered)
    exact = len(distinct) <= BIN_COUNT
    edges = distinct if exact else _breaks(ordered)
    if column.kind is Kind.NUMERIC:
        edges = _fewest_decimals(edges)
    # The largest value closes the last bin, it does not open one.
    edges = edges if exact else edges[:-1]
    return Bins(column.name, column.kind, edges=tuple(edges.tolist()), integral=column.integral, exact=exact)


def discretise(column: Column, bins: Bins) -> Codes:
    """Returns each row's bin."""
    if bins.kind is Kind.CATEGORICAL:
        position = {category: code for code, category in enumerate(bins.categories)}
        other = position[OTHER]
        lookup = [position.get(category or EMPTY, other) for category in column.categories]
        return np.array([*lookup, position[MISSING]], np.int16)[column.values.astype(np.int64)]
    codes = np.searchsorted(np.array(bins.edges), column.values, side="right").clip(
        1, max(len(bins.edges), 1)
    )
    codes[np.isnan(column.values)] = 0
    return codes.astype(np.int16)


def protected_bounds(ordered: Floats) -> tuple[float, float] | None:
    """Returns the range that may be shown, without the `EXTREMES` smallest and largest values, or None.

    A value at the end that many rows share is no extreme and stays.
    """
    if len(ordered) <= 2 * EXTREMES:
        return None
    return float(ordered[EXTREMES - 1]), float(ordered[-EXTREMES])


def _frequent(column: Column, rows: int) -> tuple[str, ...]:
    # Missing values compete for a place among the ten like any category, and have a bin of their own in any
    # case.
    codes = column.values[:rows].astype(np.int64)
    names = [*(category or EMPTY for category in column.categories), MISSING]
    counts = np.bincount(np.where(codes < 0, len(names) - 1, codes), minlength=len(names))
    order = np.argsort(-counts, kind="stable")[:BIN_COUNT]
    frequent = [names[i] for i in order if counts[i] >= RARE_BELOW]
    special = (EMPTY, RARE_TOKEN, MISSING, OTHER)
    return (*dict.fromkeys(name for name in frequent if name not in special), *special)


def _breaks(ordered: Floats) -> Floats:
    for count in range(BIN_COUNT, min(_SEARCH_UP_TO, len(ordered)) + 1):
        breaks = _distinct(ordered[np.linspace(0, len(ordered) - 1, count + 1).astype(np.int64)])
        if len(breaks) > BIN_COUNT:
            break
    return breaks


def _distinct(ordered: Floats) -> Floats:
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered


def _fewest_decimals(breaks: Floats) -> Floats:
    # Rounded down on a grid, breaks still separate the same neighbours as long as they stay distinct.
    for decimals in range(_MOST_DECIMALS):
        with np.errstate(over="ignore", invalid="ignore"):
            rounded = np.floor(breaks * 10.0**decimals) / 10.0**decimals
        if len(np.unique(rounded)) == len(breaks) and np.all(rounded <= breaks):
            return np.asarray(rounded, np.float64)
    return breaks
