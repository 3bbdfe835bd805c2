"""Compares generated data with the protected statistics of what their model learnt from.

Rows may have been asked for that differ from the original: a column was rebalanced, given as a seed, or freed
of missing values. Such columns are *intended* to differ, and what depends on them follows. To see whether the
rest is right all the same, rows get weights that give the intended columns their original distribution back
(raking: Deming and Stephan, Annals of Mathematical Statistics 11, 1940), and everything else is compared
under these weights. Where a part of the original was not asked for at all, weights cannot bring it back; then
all columns are said to follow.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from simulacra.errors import InvalidArgument
from simulacra_qa.evaluation import Evaluation, Options, Progress
from simulacra_qa.intent import Intent
from simulacra_qa.metrics.accuracy import Counts, Discretised, Group, Marginals, Score
from simulacra_qa.metrics.association import association_matrix
from simulacra_qa.metrics.bins import Bins
from simulacra_qa.metrics.ceiling import Ceiling
from simulacra_qa.metrics.columns import Column, Kind, read_column
from simulacra_qa.metrics.profile import Density, Profile
from simulacra_qa.statistics import Cells, ColumnStatistics, DensityStatistics, Statistics

__all__ = ["Asked", "Compared", "compare_steps"]

_ROUNDS = 50
_LARGEST_WEIGHT = 50.0
_UNASKED = 0.01
_LEAST_EFFECTIVE = 0.02
_SMOOTH = np.array([1, 4, 6, 4, 1]) / 16

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Asked:
    """How the generation was steered away from the original.

    Attributes:
        rebalanced: Columns whose distribution was asked for.
        seeded: Columns whose values were given.
        imputed: Columns that were asked to have no missing values.
        fair: A column that was asked to have the same shares in all groups, then those that make the groups.
        notes: What else was asked for, in plain words.
    """

    rebalanced: Sequence[str] = ()
    seeded: Sequence[str] = ()
    imputed: Sequence[str] = ()
    fair: Sequence[str] = ()
    notes: Sequence[str] = ()

    def reasons(self) -> dict[str, str]:
        """Returns why each of these columns is intended to differ."""
        return {
            **dict.fromkeys(self.fair[:1], f"the same in all groups by {', '.join(self.fair[1:])}"),
            **dict.fromkeys(self.imputed, "imputed"),
            **dict.fromkeys(self.rebalanced, "rebalanced"),
            **dict.fromkeys(self.seeded, "given as seed"),
        }


@dataclass(frozen=True, slots=True)
class Compared:
    """An evaluation against statistics; it has no holdout, so no privacy tests.

    Attributes:
        evaluation: The comparison, under weights if a column was steered; all its columns are labels.
        intent: What was asked for, and so is intended to differ.
    """

    evaluation: Evaluation
    intent: Intent


def compare_steps(
    statistics: Statistics, synthetic: pa.Table, asked: Asked, *, seed: int = 0
) -> Iterator[Progress | Compared]:
    """Yields progress, and at last the comparison.

    Raises:
        InvalidArgument: The synthetic table lacks a column of the statistics, or there are no rows.
    """
    names = [column.name for column in statistics.columns]
    missing = [name for name in names if name not in synthetic.column_names]
    if missing:
        raise InvalidArgument.of("synthetic", f'the table lacks the column "{missing[0]}" of its model')
    if not len(synthetic) or not names:
        raise InvalidArgument.of("synthetic", "the table is empty; there is nothing to compare")
    work = len(names) + len(statistics.pairs)
    columns, codes = [], np.empty((len(names), len(synthetic)), np.int16)
    for position, described in enumerate(statistics.columns):
        columns.append(_read(synthetic, described))
        codes[position] = described.codes(columns[-1])
        yield Progress(position + 1, work)
    comparison = _Comparison(statistics, codes, asked)
    for done in comparison.count():
        yield Progress(len(names) + done, work)
    yield comparison.result(columns, seed)


def _read(synthetic: pa.Table, described: ColumnStatistics) -> Column:
    """Reads a column as what it was in the training table, whatever its type is now."""
    like = {Kind.NUMERIC: pa.float64(), Kind.DATETIME: pa.timestamp("us"), Kind.CATEGORICAL: pa.string()}
    empty = pa.table({described.name: pa.array([], like[described.kind])})
    return read_column([empty, synthetic.select([described.name])], described.name)


class _Comparison:
    """The counts of one generated table beside those of the statistics."""

    def __init__(self, statistics: Statistics, codes: npt.NDArray[np.int16], asked: Asked) -> None:
        self._statistics = statistics
        self._codes = codes
        self._sizes = [len(column.labels) for column in statistics.columns]
        self._intended = {
            column.name: asked.reasons()[column.name]
            for column in statistics.columns
            if column.name in asked.reasons()
        }
        self._notes = tuple(asked.notes)
        names = [column.name for column in statistics.columns]
        self._imputed = {names.index(name) for name in asked.imputed if name in names}
        steered = (*asked.rebalanced, *asked.seeded)
        self._steered = {names.index(name) for name in steered if name in names} - self._imputed
        known = asked.fair if set(asked.fair[:1]) <= set(names) else ()
        fair = [names.index(name) for name in known if name in names]
        self._unlinked = {(min(fair[0], other), max(fair[0], other)) for other in fair[1:]}
        self._weights, self._follows = self._raked()
        effective = self._weights.sum() ** 2 / (self._weights**2).sum()
        self._ceiling = Ceiling(
            statistics.rows, reference_rows=statistics.rows, sample_rows=max(round(effective), 1)
        )
        self.marginals = Marginals()

    def count(self) -> Iterator[int]:
        """Fills in the scores; yields how many pairs are done."""
        for position, column in enumerate(self._statistics.columns):
            score = self._measured((position,), column.cells)
            if position in self._steered:
                # Under the weights it is as it was; what is shown is what was asked for.
                score = replace(score, accuracy=score.ceiling)
                rows = np.bincount(self._codes[position], minlength=self._sizes[position])
                training = np.array(column.cells.counts)
                self.marginals.counts[(position,)] = np.stack([training, np.zeros_like(rows), rows])
            self.marginals.univariate.append(score)
        pairs = combinations(range(len(self._sizes)), 2)
        for done, (pair, cells) in enumerate(zip(pairs, self._statistics.pairs, strict=True)):
            score = self._measured(pair, cells)
            if pair in self._unlinked:
                score = replace(score, accuracy=score.ceiling)
            self.marginals.bivariate.append(score)
            if done % 50 == 0:
                yield done

    def result(self, columns: Sequence[Column], seed: int) -> Compared:
        """Returns the comparison as an evaluation."""
        statistics = self._statistics
        described = statistics.columns
        bins = tuple(
            Bins(column.name, Kind.CATEGORICAL, categories=tuple(column.labels)) for column in described
        )
        rows = (statistics.rows, 0, self._codes.shape[1])
        data = Discretised(bins, self._codes, rows)
        association = np.eye(len(described))
        upper = np.triu_indices(len(described), 1)
        association[upper] = statistics.associations
        found = association_matrix(data, self.marginals.counts, 2)
        for first, second in self._unlinked:  # their link is gone by intention
            found[first, second] = found[second, first] = association[first, second]
        evaluation = Evaluation(
            columns=tuple(column.name for column in described),
            options=Options(seed=seed),
            rows=rows,
            data=data,
            profiles=tuple(self._profile(i, column) for i, column in enumerate(columns)),
            marginals=self.marginals,
            association_training=np.maximum(association, association.T),
            association_synthetic=found,
        )
        kinds = tuple(column.kind for column in described)
        return Compared(evaluation, Intent(True, kinds, self._intended, self._follows, self._notes))

    def _measured(self, group: Group, cells: Cells) -> Score:
        training = np.array(cells.counts, np.int64)
        rest = cells.rest
        key = np.zeros(self._codes.shape[1], np.int64)
        for column in group:
            key = key * self._sizes[column] + self._codes[column]
        synthetic = np.bincount(key, weights=self._weights, minlength=len(training))
        for dimension, column in enumerate(group):
            unasked = self._unasked(column)
            if unasked.any():
                shape = [self._sizes[i] for i in group]
                gone = np.moveaxis(np.zeros(shape, np.bool_), dimension, -1)
                gone[...] = unasked
                training = np.where(np.moveaxis(gone, -1, dimension).ravel(), 0, training)
        shown = np.rint(synthetic).astype(np.int64)
        self.marginals.counts[group] = np.stack([training, np.zeros_like(training), shown]).astype(np.int32)
        # Cells of few training rows are known together only, so they are one cell here too.
        known = training > 0
        before: Counts = np.append(training[known], rest)
        after = np.append(synthetic[known], synthetic[~known].sum())
        if not before.sum():
            return Score(group, 1.0, 1.0)
        distance = 0.5 * float(np.abs(before / before.sum() - after / after.sum()).sum())
        return Score(group, 1.0 - distance, 1.0 - self._ceiling.expected_tvd(before[before > 0]))

    def _unasked(self, column: int) -> npt.NDArray[np.bool_]:
        """Tells which labels of a steered column were not asked for, and so cannot be there."""
        labels = self._sizes[column]
        unasked = np.zeros(labels, np.bool_)
        if column in self._imputed:
            unasked[labels - 2] = True
        elif column in self._steered:
            unasked[:] = np.bincount(self._codes[column], minlength=labels) == 0
        return unasked

    def _raked(self) -> tuple[Floats, bool]:
        """Returns the rows' weights, and whether they leave the steering undone."""
        rows = self._codes.shape[1]
        weights, undone = np.ones(rows), False
        targets = {}
        for column in self._steered:
            counts = np.array(self._statistics.columns[column].cells.counts, np.float64)
            asked = ~self._unasked(column)
            undone |= counts[~asked].sum() > _UNASKED * counts.sum()
            if counts[asked].sum():
                targets[column] = np.where(asked, counts, 0) / counts[asked].sum() * rows
        for _ in range(_ROUNDS if len(targets) > 1 else len(targets)):
            for column, target in targets.items():
                now = np.bincount(self._codes[column], weights=weights, minlength=len(target))
                factor = np.divide(target, now, out=np.zeros_like(now), where=now > 0)
                weights = np.minimum(weights * factor[self._codes[column]], _LARGEST_WEIGHT)
        effective = weights.sum() ** 2 / max((weights**2).sum(), 1e-9)
        if undone or effective < _LEAST_EFFECTIVE * rows:
            return np.ones(rows), True
        return weights * rows / weights.sum(), False

    def _profile(self, position: int, column: Column) -> Profile:
        described = self._statistics.columns[position]
        rows = (self._statistics.rows, 0, self._codes.shape[1])
        gone = np.average(column.missing, weights=self._weights)
        missing = (described.missing, 0.0, float(gone))
        if position in self._imputed or position in self._steered:
            missing = (missing[2], 0.0, missing[2])
        stored = described.density
        if stored is None:
            return Profile(rows, missing)
        centres = stored.low + (np.arange(len(stored.shares)) + 0.5) * (stored.high - stored.low) / len(
            stored.shares
        )
        before = np.array(stored.shares)
        after = _histogram(column, self._weights, stored)
        if not after.sum():
            return Profile(rows, missing)
        means = [float(np.average(centres, weights=curve)) for curve in (before, after)]
        spread = float(np.sqrt(np.average((centres - means[0]) ** 2, weights=before)))
        if position in self._steered:
            means[1] = means[0]
        top = max(float(before.max()), float(after.max()))
        density = Density(stored.low, stored.high, before / top, after / top)
        return Profile(rows, missing, (means[0], float("nan"), means[1]), spread, density)


def _histogram(column: Column, weights: Floats, stored: DensityStatistics) -> Floats:
    """Returns the shares on the grid of stored ones, smoothed like them."""
    values = np.asarray(column.values, np.float64)
    known = ~np.isnan(values)
    counts, _ = np.histogram(
        values[known], bins=len(stored.shares), range=(stored.low, stored.high), weights=weights[known]
    )
    smooth = np.convolve(np.pad(counts, 2, mode="reflect"), _SMOOTH, mode="valid")
    total = smooth.sum()
    return smooth / total if total else smooth
