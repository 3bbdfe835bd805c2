"""Accuracy: 1 - total variation distance of discretised marginals of one, two and three columns.

All columns are discretised once; a pair's or triple's joint counts, for training, holdout and synthetic data
together, are then one `bincount`. So memory is bounded by the codes (two bytes a cell) and time is linear in
rows times groups.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from simulacra_qa.metrics.bins import Bins, Codes
from simulacra_qa.metrics.ceiling import Ceiling

__all__ = ["Discretised", "Interval", "Marginals", "Reference", "Score", "measure"]

_MOST_TRIPLES = 10_000
_RESAMPLED_GROUPS = 300
_RESAMPLES = 24
_NORMAL_95 = 1.959964

Counts = npt.NDArray[np.int64]
Group = tuple[int, ...]


class Reference(StrEnum):
    """What synthetic data are compared with."""

    TRAINING = "training"
    ORIGINAL = "training+holdout"


@dataclass(frozen=True, slots=True)
class Discretised:
    """The bins of all columns, and the codes (columns, rows) of training, holdout, synthetic rows."""

    bins: tuple[Bins, ...]
    codes: Codes
    rows: tuple[int, int, int]

    @property
    def original_rows(self) -> int:
        """Training and holdout rows."""
        return self.rows[0] + self.rows[1]


@dataclass(frozen=True, slots=True)
class Interval:
    """A central 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Score:
    """The accuracy of one group of columns; `ceiling` is what a fresh sample of the original would reach."""

    columns: Group
    accuracy: float
    ceiling: float


@dataclass(slots=True)
class Marginals:
    """All scores of one table. `counts` keeps the joint counts (3, cells) of all columns and pairs."""

    univariate: list[Score] = field(default_factory=list)
    bivariate: list[Score] = field(default_factory=list)
    trivariate: list[Score] = field(default_factory=list)
    counts: dict[Group, Counts] = field(default_factory=dict)
    univariate_interval: Interval | None = None
    bivariate_interval: Interval | None = None
    overall_interval: Interval | None = None


def measure(
    data: Discretised, *, reference: Reference, rng: np.random.Generator
) -> Iterator[float | Marginals]:
    """Yields the share of work done, and at last the scores."""
    width = len(data.bins)
    pairs = list(itertools.combinations(range(width), 2))
    triples = _triples(width, rng)
    ceiling = Ceiling(
        data.original_rows,
        reference_rows=data.rows[0] if reference is Reference.TRAINING else data.original_rows,
        sample_rows=data.rows[2],
    )
    counter = _Counter(data)
    result = Marginals()
    groups = [*itertools.combinations(range(width), 1), *pairs, *triples]
    resampled = min(len(pairs), _RESAMPLED_GROUPS) * _RESAMPLES // 2
    for done, group in enumerate(groups):
        counts = counter.count(group)
        score = _score(group, counts, reference, ceiling)
        if len(group) < 3:
            result.counts[group] = counts.astype(np.int32)
        (result.univariate, result.bivariate, result.trivariate)[len(group) - 1].append(score)
        if done % 50 == 0:
            yield done / (len(groups) + resampled)
    yield len(groups) / (len(groups) + resampled)
    _add_intervals(result, data, ceiling, rng)
    yield result


def _triples(width: int, rng: np.random.Generator) -> list[Group]:
    total = width * (width - 1) * (width - 2) // 6
    if total <= _MOST_TRIPLES:
        return list(itertools.combinations(range(width), 3))
    drawn: set[Group] = set()
    while len(drawn) < _MOST_TRIPLES:
        block = np.sort(rng.integers(0, width, (_MOST_TRIPLES, 3)), axis=1)
        distinct = block[(block[:, 0] < block[:, 1]) & (block[:, 1] < block[:, 2])]
        drawn.update((int(i), int(j), int(k)) for i, j, k in distinct[: _MOST_TRIPLES - len(drawn)])
    return sorted(drawn)


class _Counter:
    """Joint counts per part of the data; keeps the last pair's keys, which the triples of that pair share."""

    def __init__(self, data: Discretised) -> None:
        self._data = data
        self._sizes = [bins.size for bins in data.bins]
        self._parts = np.repeat(np.arange(3, dtype=np.int32), data.rows)
        self._last: tuple[Group, npt.NDArray[np.int32]] = ((), self._parts)

    def count(self, group: Group) -> Counts:
        """Returns the counts (3 parts, cells) of one group of columns."""
        cells = int(np.prod([self._sizes[i] for i in group]))
        return np.bincount(self._keys(group), minlength=3 * cells).reshape(3, cells)

    def _keys(self, group: Group) -> npt.NDArray[np.int32]:
        if not group:
            return self._parts
        prefix, last = group[:-1], group[-1]
        base = self._last[1] if self._last[0] == prefix else self._keys(prefix)
        if prefix:
            self._last = (prefix, base)
        keys = base * np.int32(self._sizes[last])
        keys += self._data.codes[last]
        return keys


def _score(group: Group, counts: Counts, reference: Reference, ceiling: Ceiling) -> Score:
    training, holdout, synthetic = counts
    original = training + holdout
    base = training if reference is Reference.TRAINING else original
    return Score(group, 1.0 - _tvd(base, synthetic), 1.0 - ceiling.expected_tvd(original[original > 0]))


def _tvd(left: Counts, right: Counts) -> float:
    return 0.5 * float(np.abs(left / max(int(left.sum()), 1) - right / max(int(right.sum()), 1)).sum())


def _add_intervals(result: Marginals, data: Discretised, ceiling: Ceiling, rng: np.random.Generator) -> None:
    """Adds the intervals in which a fresh sample's scores fall, by dividing the original into random parts.

    The spread over such divisions carries the dependence between groups, which share rows and columns; it is
    scaled from the parts' sizes to the wanted ones like the distance itself.
    """
    a, b = ceiling.parts
    if a < 2 or b < 2:
        return
    scores = (result.univariate, result.bivariate)
    chosen = [_some([score.columns for score in group], rng) for group in scores]
    tvds = np.full((_RESAMPLES, 2), np.nan)
    data_rows = data.original_rows
    sides = np.full((_RESAMPLES, data_rows), 2, np.int32)
    for row in sides:
        order = rng.permutation(data_rows)
        row[order[:a]], row[order[a : a + b]] = 0, 1
    for level, groups in enumerate(chosen):
        if groups:
            tvds[:, level] = np.mean([_divided(data, group, sides) for group in groups], axis=0)
    shrink = [
        float(np.mean([ceiling.continuation(_original(result.counts[g])) for g in groups])) if groups else 1.0
        for groups in chosen
    ]
    spread = (tvds - tvds.mean(axis=0)) * shrink
    result.univariate_interval = _interval(scores[0], spread[:, 0])
    if scores[1]:
        result.bivariate_interval = _interval(scores[1], spread[:, 1])
        middle = (np.mean([s.ceiling for s in scores[0]]) + np.mean([s.ceiling for s in scores[1]])) / 2
        result.overall_interval = _around(float(middle), spread.mean(axis=1))
    else:
        result.overall_interval = result.univariate_interval


def _original(counts: Counts) -> Counts:
    original = counts[0] + counts[1]
    present: Counts = original[original > 0]
    return present


def _some(groups: Sequence[Group], rng: np.random.Generator) -> list[Group]:
    if len(groups) <= _RESAMPLED_GROUPS:
        return list(groups)
    return [groups[i] for i in np.sort(rng.choice(len(groups), _RESAMPLED_GROUPS, replace=False))]


def _divided(data: Discretised, group: Group, sides: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    key = np.zeros(data.original_rows, np.int32)
    for column in group:
        key = key * np.int32(data.bins[column].size) + data.codes[column, : data.original_rows]
    # Only cells that occur matter, and there are few of them.
    present, cell = np.unique(key, return_inverse=True)
    size = len(present)
    return np.array(
        [_tvd(*np.bincount(side * size + cell, minlength=3 * size).reshape(3, size)[:2]) for side in sides]
    )


def _interval(scores: Sequence[Score], spread: npt.NDArray[np.float64]) -> Interval | None:
    return _around(float(np.mean([score.ceiling for score in scores])), spread) if scores else None


def _around(middle: float, spread: npt.NDArray[np.float64]) -> Interval:
    reach = _NORMAL_95 * float(spread.std(ddof=1))
    return Interval(max(middle - reach, 0.0), min(middle + reach, 1.0))
