"""Coherence: do synthetic sequences unfold like the original ones?

Three parts, each the mean over columns of 1 - total variation distance, on the bins of univariate accuracy:

- *transitions*: the joint distribution of a row's value and the next row's, over all consecutive rows;
- *values per sequence*: how many different values a sequence has;
- *sequences per value*: in how many sequences each value occurs.

Coherence is the mean of the three. The distribution of sequence lengths is scored beside it. Ceilings are
those of a fresh sample of sequences.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulacra_qa.metrics.accuracy import Discretised, Interval, Reference, Score
from simulacra_qa.metrics.bins import discretise, fit_bins
from simulacra_qa.metrics.clustered import distance
from simulacra_qa.metrics.columns import Column, Kind
from simulacra_qa.metrics.sequences import Sequences

__all__ = ["Coherence", "coherence"]

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_STUDENT_95 = 2.571  # of six divisions


@dataclass(frozen=True, slots=True)
class Coherence:
    """The scores of each part by column, and of the lengths; a score's columns are its position, twice."""

    transitions: tuple[Score, ...]
    values_per_sequence: tuple[Score, ...]
    sequences_per_value: tuple[Score, ...]
    lengths: Score
    interval: Interval

    @property
    def accuracy(self) -> float:
        """The mean of the three parts."""
        return float(np.mean([np.mean([score.accuracy for score in part]) for part in self._parts]))

    @property
    def ceiling(self) -> float:
        """The mean of the three parts' ceilings."""
        return float(np.mean([np.mean([score.ceiling for score in part]) for part in self._parts]))

    @property
    def _parts(self) -> list[tuple[Score, ...]]:
        return [
            part for part in (self.transitions, self.values_per_sequence, self.sequences_per_value) if part
        ]


@dataclass(frozen=True, slots=True)
class _Items:
    """What is counted: a cell and the subject it belongs to, for each item."""

    cells: Integers
    subjects: Integers


def coherence(
    data: Discretised, targets: int, sequences: Sequences, reference: Reference, rng: np.random.Generator
) -> Coherence:
    """Scores the first `targets` columns of data whose rows are those of the sequences."""
    training, holdout, _ = sequences.counts
    original = reference is Reference.ORIGINAL
    ends = (training + holdout if original else training, training + holdout)
    ceiling = sequences.ceiling(reference, rng)

    spread: dict[str, list[Floats]] = {}

    def score(column: int, items: _Items, part: str) -> Score:
        size = int(items.cells.max(initial=0)) + 1
        before = np.bincount(items.cells[items.subjects < ends[0]], minlength=size)
        after = np.bincount(items.cells[items.subjects >= ends[1]], minlength=size)
        known = items.subjects < ends[1]
        tvds = ceiling.tvds(items.cells[known], items.subjects[known])
        spread.setdefault(part, []).append(tvds)
        return Score((column, column), 1.0 - distance(before, after), 1.0 - float(tvds.mean()))

    columns = range(targets)
    follows = np.flatnonzero(sequences.of_rows[1:] == sequences.of_rows[:-1])
    lengths = score(-1, _lengths(sequences), "lengths")
    parts = {
        "transitions": [
            score(i, _transitions(data, i, follows, sequences), "transitions")
            for i in columns
            if len(follows)
        ],
        "values": [score(i, _values_per_sequence(data, i, sequences), "values") for i in columns],
        "sequences": [score(i, _sequences_per_value(data, i, sequences), "sequences") for i in columns],
    }
    # The mean of the parts in every division; with few divisions, their spread has Student's distribution.
    divided = 1.0 - np.mean(
        [np.mean(spread[part], axis=0) for part, scores in parts.items() if scores], axis=0
    )
    reach = _STUDENT_95 * float(divided.std(ddof=1))
    middle = float(divided.mean())
    return Coherence(
        transitions=tuple(parts["transitions"]),
        values_per_sequence=tuple(parts["values"]),
        sequences_per_value=tuple(parts["sequences"]),
        lengths=lengths,
        interval=Interval(max(middle - reach, 0.0), min(middle + reach, 1.0)),
    )


def _transitions(data: Discretised, column: int, follows: Integers, sequences: Sequences) -> _Items:
    codes = data.codes[column].astype(np.int64)
    return _Items(codes[follows] * data.bins[column].size + codes[follows + 1], sequences.of_rows[follows])


def _occurring(data: Discretised, column: int, sequences: Sequences) -> tuple[Integers, Integers]:
    """Returns each subject with each code that it has, once."""
    size = data.bins[column].size
    pairs = np.unique(sequences.of_rows * size + data.codes[column])
    return pairs // size, pairs % size


def _values_per_sequence(data: Discretised, column: int, sequences: Sequences) -> _Items:
    subjects, _ = _occurring(data, column, sequences)
    total = sum(sequences.counts)
    return _Items(np.bincount(subjects, minlength=total), np.arange(total))


def _sequences_per_value(data: Discretised, column: int, sequences: Sequences) -> _Items:
    subjects, codes = _occurring(data, column, sequences)
    return _Items(codes, subjects)


def _lengths(sequences: Sequences) -> _Items:
    total = sum(sequences.counts)
    column = Column("length", Kind.NUMERIC, sequences.lengths.astype(np.float64), integral=True)
    bins = fit_bins(column, sequences.counts[0] + sequences.counts[1])
    return _Items(discretise(column, bins).astype(np.int64), np.arange(total))
