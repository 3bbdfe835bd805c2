"""Values inside of bins that many rows share: round numbers, prices that end in .99, days with many rows."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from simulacra.engine.codecs._json import Document

__all__ = ["Often", "heaped"]

_MIN_ROWS = 5
_MAX_OFTEN = 5000
_NEIGHBOURS = 20
_SURE = 3.0  # standard deviations


@dataclass(frozen=True, slots=True)
class Often:
    """Values that enough subjects share, though too few rows for a code each, and their shares of their bins.

    Attributes:
        values: The values, ascending.
        bins: The bin of each.
        shares: The share of each in the rows of its bin; what is left is drawn between the bin's quantiles.
    """

    values: np.ndarray
    bins: np.ndarray
    shares: np.ndarray

    @classmethod
    def none(cls, dtype: Any) -> Self:
        """Returns that there are none."""
        return cls(np.empty(0, dtype), np.empty(0, np.int64), np.empty(0))

    @classmethod
    def of(cls, values: np.ndarray, bins: np.ndarray, rows: np.ndarray, totals: np.ndarray) -> Self:
        """Takes ascending values, their bins and rows; `totals` are the rows that a bin's shares are of."""
        return cls(values, bins, np.round(rows / np.maximum(totals[bins], 1), 6))

    def draw(self, bins: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns for each row's bin the place of one of the values, or -1 for what is drawn otherwise."""
        if not len(self.values):
            return np.full(len(bins), -1)
        sums = np.cumsum(self.shares)
        first = np.searchsorted(self.bins, self.bins)
        within = sums - (sums - self.shares)[first]
        places = np.searchsorted(self.bins + np.minimum(within, 1.0), bins + rng.random(len(bins)), "right")
        found = self.bins[places.clip(max=len(self.bins) - 1)] == bins
        return np.where(found & (places < len(self.bins)), places, -1)

    def to_json(self) -> dict[str, Any]:
        """Returns the document that `from_json` reads."""
        return {key: getattr(self, key).tolist() for key in ("values", "bins", "shares")}

    @classmethod
    def from_json(cls, document: Document, dtype: type, bounds: np.ndarray, bins: int) -> Self:
        """Reads values of so many bins; raises `CorruptBundle` for what is none."""
        values = document.array("values", dtype, (None,))
        own = document.array("bins", np.int64, (len(values),))
        shares = document.array("shares", np.float64, (len(values),))
        if len(values) and not (
            (np.diff(own) >= 0).all()
            and 0 <= own[0] <= own[-1] < bins
            and (values[1:] > values[:-1]).all()
            and bounds[0] <= values[0]
            and values[-1] <= bounds[1]
            and ((shares >= 0) & (shares <= 1)).all()
        ):
            raise document.fail("values", "are not ascending, outside of the bounds or of no bin")
        return cls(values, own, shares)


def heaped(distinct: np.ndarray, rows: np.ndarray, allowed: np.ndarray, grid: int) -> np.ndarray:
    """Says which ascending values have more rows than chance gives values on a grid beside each other.

    Others need no place here: the quantiles of their bin say as much, without the chance of single values.

    Args:
        distinct: The values.
        rows: How many rows each has.
        allowed: Which may be kept.
        grid: The step of which whole numbers are multiples; floats have none.
    """
    places = np.arange(len(distinct))
    first, last = (places - _NEIGHBOURS).clip(0), (places + _NEIGHBOURS).clip(max=len(distinct) - 1)
    sums = np.concatenate([[0], np.cumsum(rows)])
    expected = np.zeros(len(distinct))
    if distinct.dtype == np.int64:
        points = (distinct[last] - distinct[first]).view(np.uint64) / grid + 1
        expected = (sums[last + 1] - sums[first]) / points
    heaps = allowed & (rows >= _MIN_ROWS) & (rows > expected + _SURE * np.sqrt(expected))
    if heaps.sum() <= _MAX_OFTEN:
        return heaps
    kept = np.zeros(len(distinct), bool)
    kept[np.argsort(-(rows * heaps), kind="stable")[:_MAX_OFTEN]] = True
    return kept
