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
from simulacra_qa.metrics.clustered import SubjectCeiling

__all__ = ["Discretised", "Interval", "Marginals", "Reference", "Score", "Subjects", "measure"]

_MOST_TRIPLES = 10_000
_RESAMPLED_GROUPS = 300
_RESAMPLED_TRIPLES = 60
_RESAMPLES = 24
_CLUSTERED_TRIPLES = 100
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
class Subjects:
    """Whose each row is, `of_rows` numbered through all tables, and how many subjects each table has."""

    of_rows: npt.NDArray[np.int64]
    counts: tuple[int, int, int]

    def ceiling(self, reference: Reference, rng: np.random.Generator) -> SubjectCeiling:
        """Returns what a fresh sample of as many subjects as the synthetic data have is expected to reach."""
        training, holdout, synthetic = self.counts
        base = training if reference is Reference.TRAINING else training + holdout
        return SubjectCeiling(training + holdout, reference=base, sample=synthetic, rng=rng)


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
    trivariate_interval: Interval | None = None
    overall_interval: Interval | None = None


def measure(
    data: Discretised,
    *,
    reference: Reference,
    rng: np.random.Generator,
    targets: int | None = None,
    subjects: Subjects | None = None,
) -> Iterator[float | Marginals]:
    """Yields the share of work done, and at last the scores.

    Args:
        data: The discretised columns.
        reference: What synthetic data are compared with.
        rng: Draws triples and divisions.
        targets: How many columns, the first ones, are scored; the others are context, which is paired with
            them only. All if absent.
        subjects: Whose rows these are, if several may be of one.
    """
    width = len(data.bins) if targets is None else targets
    context = range(width, len(data.bins))
    pairs = [*itertools.combinations(range(width), 2), *itertools.product(range(width), context)]
    triples = _triples(width, rng)
    ceiling = Ceiling(
        data.original_rows,
        reference_rows=data.rows[0] if reference is Reference.TRAINING else data.original_rows,
        sample_rows=data.rows[2],
    )
    counter = _Counter(data)
    result = Marginals()
    for column in context:
        result.counts[column,] = counter.count((column,)).astype(np.int32)
    clustered = subjects.ceiling(reference, rng) if subjects else None
    groups = [*itertools.combinations(range(width), 1), *pairs, *triples]
    resampled = (min(len(pairs), _RESAMPLED_GROUPS) + min(len(triples), _RESAMPLED_TRIPLES)) * _RESAMPLES // 2
    for done, group in enumerate(groups):
        counts = counter.count(group)
        score = _score(group, counts, reference, ceiling)
        if clustered and subjects and len(group) < 3:
            tvd = clustered.expected_tvd(_keys_of(data, group), subjects.of_rows[: data.original_rows])
            score = Score(group, score.accuracy, 1.0 - tvd)
        if len(group) < 3:
            result.counts[group] = counts.astype(np.int32)
        (result.univariate, result.bivariate, result.trivariate)[len(group) - 1].append(score)
        if done % 50 == 0:
            yield done / (len(groups) + resampled)
    yield len(groups) / (len(groups) + resampled)
    if clustered and subjects:
        result.trivariate = _inflated(result.trivariate, data, subjects, clustered, rng)
    _add_intervals(result, data, ceiling, subjects, rng)
    yield result


def _inflated(
    scores: list[Score],
    data: Discretised,
    subjects: Subjects,
    clustered: SubjectCeiling,
    rng: np.random.Generator,
) -> list[Score]:
    """Returns triples' scores with ceilings lowered by what knowing of subjects costs some of them."""
    chosen = set(_some([score.columns for score in scores], rng, most=_CLUSTERED_TRIPLES))
    alone, together = 0.0, 0.0
    for score in scores:
        if score.columns in chosen:
            alone += 1.0 - score.ceiling
            together += clustered.expected_tvd(
                _keys_of(data, score.columns), subjects.of_rows[: data.original_rows]
            )
    factor = together / alone if alone else 1.0
    return [
        Score(score.columns, score.accuracy, max(1.0 - factor * (1.0 - score.ceiling), 0.0))
        for score in scores
    ]


def _keys_of(data: Discretised, group: Group) -> npt.NDArray[np.int64]:
    """Returns each original row's cell."""
    key = np.zeros(data.original_rows, np.int64)
    for column in group:
        key = key * data.bins[column].size + data.codes[column, : data.original_rows]
    return key


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


def _add_intervals(
    result: Marginals,
    data: Discretised,
    ceiling: Ceiling,
    subjects: Subjects | None,
    rng: np.random.Generator,
) -> None:
    """Adds the intervals in which a fresh sample's scores fall, by dividing the original into random parts.

    The spread over such divisions carries the dependence between groups, which share rows and columns; it is
    scaled from the parts' sizes to the wanted ones like the distance itself.
    """
    units = data.original_rows if subjects is None else sum(subjects.counts[:2])
    a, b = ceiling.parts
    if subjects is not None:
        a, b = a * units // data.original_rows, b * units // data.original_rows
    if a < 2 or b < 2:
        return
    sides = np.full((_RESAMPLES, units), 2, np.int32)
    for row in sides:
        order = rng.permutation(units)
        row[order[:a]], row[order[a : a + b]] = 0, 1
    if subjects is not None:
        sides = sides[:, subjects.of_rows[: data.original_rows]]
    levels = (
        (result.univariate, _RESAMPLED_GROUPS),
        (result.bivariate, _RESAMPLED_GROUPS),
        (result.trivariate, _RESAMPLED_TRIPLES),
    )
    spreads = []
    for scores, most in levels:
        divided = [_divided(data, group, sides) for group in _some([s.columns for s in scores], rng, most)]
        shrink = [ceiling.continuation(counts) for _, counts in divided]
        tvds = np.mean([tvd for tvd, _ in divided], axis=0) if divided else np.full(_RESAMPLES, np.nan)
        spreads.append((tvds - tvds.mean()) * (float(np.mean(shrink)) if shrink else 1.0))
    result.univariate_interval, result.bivariate_interval, result.trivariate_interval = (
        _interval(scores, spread) for (scores, _), spread in zip(levels, spreads, strict=True)
    )
    if result.bivariate:
        middles = [np.mean([score.ceiling for score in scores]) for scores, _ in levels[:2]]
        spread = np.mean(spreads[:2], axis=0)
        result.overall_interval = _around(float(np.mean(middles)), spread)
    else:
        result.overall_interval = result.univariate_interval


def _some(groups: Sequence[Group], rng: np.random.Generator, most: int) -> list[Group]:
    if len(groups) <= most:
        return list(groups)
    return [groups[i] for i in np.sort(rng.choice(len(groups), most, replace=False))]


def _divided(
    data: Discretised, group: Group, sides: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.float64], Counts]:
    """Returns the TVD of each division of the original rows, and the row counts of the cells that occur."""
    keys = _keys_of(data, group)
    counts = np.bincount(keys)
    # Only cells that occur matter, and there are few of them.
    occurs = counts > 0
    size = int(occurs.sum())
    cell = (np.cumsum(occurs, dtype=np.int32) - 1)[keys]
    tvds = [_tvd(*np.bincount(side * size + cell, minlength=3 * size).reshape(3, size)[:2]) for side in sides]
    return np.array(tvds), counts[occurs]


def _interval(scores: Sequence[Score], spread: npt.NDArray[np.float64]) -> Interval | None:
    return _around(float(np.mean([score.ceiling for score in scores])), spread) if scores else None


def _around(middle: float, spread: npt.NDArray[np.float64]) -> Interval:
    reach = _NORMAL_95 * float(spread.std(ddof=1))
    return Interval(max(middle - reach, 0.0), min(middle + reach, 1.0))
