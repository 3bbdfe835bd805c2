"""What accuracy a fresh sample of the original is expected to reach: the `*_max` of the metrics.

Even real data differ from real data: a sample of m rows has some total variation distance (TVD) from a
reference of n rows drawn from the same population. Plugging the observed frequencies into a formula
understates that distance where cells are sparse, since cells that were not observed count as impossible. Here
nothing is plugged in: dividing the original rows at random into two disjoint parts gives two real samples,
and the expectation of their TVD over *all* such divisions is known in closed form (a cell with k rows divides
hypergeometrically). It is exact and unbiased whatever the distribution, but only for parts that fit into the
original; for larger sizes the curve of TVD over size is continued with its own slope on a log-log scale,
which runs from 0 (every row differs) to 1/2 (dense cells).
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Ceiling"]

_EXACT_UP_TO = 200
_STEPS = 16
_SCALES = 3
_SMALL_PART = 64
_GRID = 400

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Split:
    """Two disjoint random parts of the original, and E|share in a - share in b| by a cell's row count."""

    a: int
    b: int
    table: Floats


class Ceiling:
    """Expected TVD between a reference of `reference_rows` rows and a fresh sample of `sample_rows` rows.

    Args:
        original_rows: Rows of the original data, the most that can be divided.
        reference_rows: Rows of the reference that accuracy is measured against.
        sample_rows: Rows of the synthetic data.
    """

    def __init__(self, original_rows: int, *, reference_rows: int, sample_rows: int) -> None:
        if 2 * sample_rows <= original_rows:
            b = sample_rows
            a = min(reference_rows, original_rows - sample_rows)
        else:
            a = b = original_rows // 2
        self.parts = (a, b)
        self._splits = [
            _Split(a_, b_, _expected_differences(original_rows, a_, b_))
            for scale in (2**i for i in range(_SCALES))
            if (a_ := a // scale) >= 1 and (b_ := b // scale) >= 1
        ]
        wanted = _effective(reference_rows, sample_rows)
        self._doublings = math.log2(wanted / _effective(a, b)) if a and b else 0.0

    def expected_tvd(self, cells: npt.NDArray[np.int64]) -> float:
        """Returns the expected TVD of a distribution whose cells have these row counts in the original."""
        if not self._splits:
            return 0.0
        return self._divided(cells)[0] * self.continuation(cells)

    def continuation(self, cells: npt.NDArray[np.int64]) -> float:
        """Returns by how much the TVD shrinks from the largest possible division to the wanted sizes."""
        # Parts of a few rows show no slope; they are taken as they are.
        return self.continued(*self._divided(cells)) if len(self._splits) == _SCALES else 1.0

    def _divided(self, cells: npt.NDArray[np.int64]) -> list[float]:
        """Returns the expected TVD of each division."""
        return [0.5 * float(split.table[cells].sum()) for split in self._splits]

    def continued(self, full: float, half: float, quarter: float) -> float:
        """Returns the factor from the largest division to the wanted sizes, given the TVDs of three sizes."""
        if min(full, half, quarter) <= 0:
            return 1.0
        # The slope between two sizes belongs to the middle between them, half a doubling back.
        near, far = math.log2(half / full), math.log2(quarter / half)
        bend = max(near - far, 0.0)
        middles = (np.arange(_STEPS) + 0.5) / _STEPS * self._doublings
        slopes = np.clip(near + bend * (middles + 0.5), 0.0, 0.5)
        return float(2.0 ** -(slopes.mean() * self._doublings))


def _effective(n: int, m: int) -> float:
    return 2.0 / (1.0 / n + 1.0 / m)


def _expected_differences(rows: int, a: int, b: int) -> Floats:
    """Returns E|x/a - y/b| for cells of k = 0..rows rows, x and y of which fall into the two parts."""
    k = np.arange(rows + 1, dtype=np.float64)
    share = k / rows
    variance = share * (1 - share) * rows / max(rows - 1, 1) * (1 / a + 1 / b)
    expected = np.sqrt(2 / np.pi * variance)
    few = min(_EXACT_UP_TO, rows)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, rows + 1)))])
    drawn = a + b
    # First j of the k rows fall into either part, then x of the j into part a.
    into_either = _hypergeometric(logs, rows, few, drawn)
    into_a = _hypergeometric(logs, drawn, few, a)
    x, j = np.arange(few + 1), np.arange(few + 1)[:, None]
    difference = np.abs(x / a - (j - x) / b)
    expected[: few + 1] = into_either @ (into_a * difference).sum(axis=1)
    if b <= _SMALL_PART and few < rows:
        # A normal distribution is no likeness of so few rows; how many fall into part a hardly varies then.
        grid = np.unique(np.geomspace(few + 1, rows, _GRID).astype(np.int64))
        y = np.arange(b + 1)[None, :]
        log_p = _log_choose(logs, grid[:, None], y) + _log_choose(logs, rows - grid[:, None], b - y)
        chances = np.exp(log_p - _log_choose(logs, np.array(rows), np.array(b)))
        found = (chances * np.abs((grid[:, None] - y) / (rows - b) - y / b)).sum(axis=1)
        expected[few + 1 :] = np.interp(k[few + 1 :], grid, found)
    return expected


def _hypergeometric(logs: Floats, rows: int, most: int, drawn: int) -> Floats:
    """Returns P(x of k rows are drawn) as a matrix (k, x) for k, x = 0..most; zero where k > `rows`."""
    k = np.arange(most + 1)[:, None]
    x = np.arange(most + 1)[None, :]
    total = logs[rows] - logs[drawn] - logs[rows - drawn]
    log_p = _log_choose(logs, k, x) + _log_choose(logs, rows - k, drawn - x) - total
    chances: Floats = np.exp(log_p)
    return chances


def _log_choose(logs: Floats, n: npt.NDArray[np.int64], r: npt.NDArray[np.int64]) -> Floats:
    """Returns the logarithm of n over r; minus infinity where that is zero."""
    n, r = np.broadcast_arrays(n, r)
    possible = (r >= 0) & (r <= n) & (n >= 0)
    n, r = np.where(possible, n, 0), np.where(possible, r, 0)
    return np.where(possible, logs[n] - logs[r] - logs[n - r], -np.inf)
