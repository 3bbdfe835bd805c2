"""Relations: do the rows of a synthetic child table refer to their parents as the original ones do?

Integrity and uniqueness are shares that should be 1. The number of children per parent, the joint
distributions of a child's and its parent's columns, and which of a child's columns are missing together are
compared like other distributions (1 - total variation distance of binned values), each with the ceiling that
a fresh sample of parents, with their children, would reach.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from simulacra.errors import InvalidArgument
from simulacra_qa.metrics.accuracy import Score
from simulacra_qa.metrics.bins import discretise, fit_bins
from simulacra_qa.metrics.clustered import SubjectCeiling, distance
from simulacra_qa.metrics.columns import Column, Kind, as_table, read_column
from simulacra_qa.seeds import seed_of

__all__ = ["Relation", "RelationScores", "relation_scores"]

_MOST_PAIRS = 400

Integers = npt.NDArray[np.int64]
Tables = Mapping[str, pa.Table | pd.DataFrame]


@dataclass(frozen=True, slots=True)
class Relation:
    """A foreign key: `child`.`foreign_key` refers to `parent`.`primary_key`; all are names."""

    child: str
    foreign_key: str
    parent: str
    primary_key: str


@dataclass(frozen=True, slots=True)
class RelationScores:
    """How well one foreign key is kept.

    Attributes:
        relation: The foreign key.
        referential_integrity: The share of non-null synthetic references that find their parent.
        key_uniqueness: The share of distinct values in the synthetic parents' key.
        null_shares: The shares of null references, in training and in synthetic data.
        child_counts: Accuracy and ceiling of the number of children per parent.
        null_patterns: Accuracy and ceiling of which columns of a child are missing together.
        bivariates: Accuracy and ceiling of each pair of a column of the child and one of the parent, by name.
    """

    relation: Relation
    referential_integrity: float
    key_uniqueness: float
    null_shares: tuple[float, float]
    child_counts: Score
    null_patterns: Score
    bivariates: dict[tuple[str, str], Score]


def relation_scores(
    training: Tables,
    holdout: Tables | None,
    synthetic: Tables,
    relations: Sequence[Relation],
    *,
    seed: int = 0,
) -> list[RelationScores]:
    """Judges each foreign key of several tables, given by name.

    The holdout's tables must hold whole families: parents that training has not, with all their children.

    Raises:
        InvalidArgument: A table or a key is not there.
    """
    rng = np.random.default_rng([seed_of(seed), 4])
    parts = [("training", training), ("holdout", holdout or {}), ("synthetic", synthetic)]
    return [_Judge(relation, parts, rng).scores() for relation in relations]


class _Judge:
    """One foreign key; arrays hold training, holdout and synthetic rows one after the other."""

    def __init__(
        self, relation: Relation, parts: Sequence[tuple[str, Tables]], rng: np.random.Generator
    ) -> None:
        self._relation, self._rng = relation, rng
        self._children = _tables(parts, relation.child, relation.foreign_key)
        self._parents = _tables(parts, relation.parent, relation.primary_key)
        self._child_rows = [len(table) for table in self._children]
        self._parent_rows = [len(table) for table in self._parents]
        keys = [_keys(table, relation.primary_key) for table in self._parents]
        self._own = keys
        # Where each child's parent is among all parents; -1 without a reference, -2 where it leads nowhere.
        self._place = np.concatenate(
            [
                _found(_keys(table, relation.foreign_key), key, start)
                for table, key, start in zip(
                    self._children, keys, np.cumsum([0, *self._parent_rows[:2]]), strict=True
                )
            ]
        )
        self._ceiling = SubjectCeiling(
            sum(self._parent_rows[:2]), reference=self._parent_rows[0], sample=self._parent_rows[2], rng=rng
        )

    def scores(self) -> RelationScores:
        training, _, synthetic = np.split(self._place, np.cumsum(self._child_rows)[:2])
        referring = synthetic != -1
        key = self._own[2].dropna()
        return RelationScores(
            relation=self._relation,
            referential_integrity=float((synthetic[referring] >= 0).mean()) if referring.any() else 1.0,
            key_uniqueness=key.nunique() / max(self._parent_rows[2], 1),
            null_shares=(_share(training == -1), _share(synthetic == -1)),
            child_counts=self._child_counts(),
            null_patterns=self._null_patterns(),
            bivariates=self._bivariates(),
        )

    def _child_counts(self) -> Score:
        parents = sum(self._parent_rows)
        counts = np.bincount(self._place[self._place >= 0], minlength=parents).astype(np.float64)
        column = Column("children", Kind.NUMERIC, counts, integral=True)
        bins = fit_bins(column, sum(self._parent_rows[:2]))
        return self._score(
            discretise(column, bins).astype(np.int64), np.arange(parents), np.cumsum(self._parent_rows)
        )

    def _null_patterns(self) -> Score:
        pattern = np.zeros(len(self._place), np.int64)
        for name in self._children[0].column_names:
            missing = np.concatenate([table.column(name).is_null().to_numpy() for table in self._children])
            _, pattern = np.unique(2 * pattern + missing, return_inverse=True)
        return self._by_child(pattern.astype(np.int64))

    def _bivariates(self) -> dict[tuple[str, str], Score]:
        left = _codes(self._children, self._relation.foreign_key)
        right = _codes(self._parents, self._relation.primary_key)
        pairs = list(itertools.product(left, right))
        if len(pairs) > _MOST_PAIRS:
            chosen = np.sort(self._rng.choice(len(pairs), _MOST_PAIRS, replace=False))
            pairs = [pairs[i] for i in chosen]
        related = self._place >= 0
        result = {}
        for first, second in pairs:
            size = int(right[second].max()) + 1
            joint = np.full(len(self._place), -1, np.int64)
            joint[related] = left[first][related] * size + right[second][self._place[related]]
            result[first, second] = self._by_child(joint, only=related)
        return result

    def _by_child(self, cells: Integers, only: npt.NDArray[np.bool_] | None = None) -> Score:
        """Scores cells of children; children of no parent do not count for the ceiling."""
        return self._score(cells, self._place, np.cumsum(self._child_rows), only)

    def _score(
        self, cells: Integers, subjects: Integers, ends: Any, only: npt.NDArray[np.bool_] | None = None
    ) -> Score:
        used = np.ones(len(cells), np.bool_) if only is None else only
        size = int(cells.max(initial=0)) + 1
        training, synthetic = (
            np.bincount(cells[rows][used[rows]], minlength=size)
            for rows in (slice(0, ends[0]), slice(ends[1], ends[2]))
        )
        original = used[: ends[1]] & (subjects[: ends[1]] >= 0)
        tvd = self._ceiling.expected_tvd(cells[: ends[1]][original], subjects[: ends[1]][original])
        return Score((), 1.0 - distance(training, synthetic), 1.0 - tvd)


def _tables(parts: Sequence[tuple[str, Tables]], name: str, key: str) -> list[pa.Table]:
    result: list[pa.Table] = []
    for role, tables in parts:
        if name not in tables and role == "holdout" and result:
            result.append(result[0].slice(0, 0))
            continue
        if name not in tables:
            raise InvalidArgument.of(role, f'there is no table "{name}"; there are {sorted(tables)}')
        table = as_table(tables[name])
        names = result[0].column_names if result else table.column_names
        missing = [column for column in (key, *names) if column not in table.column_names]
        if missing:
            raise InvalidArgument.of(role, f'the table "{name}" lacks the column "{missing[0]}"')
        result.append(table.select(names))
    return result


def _keys(table: pa.Table, name: str) -> "pd.Series[Any]":
    """Returns a key as text, so that 1 and 1.0 and "1" are one key."""
    values = table.column(name).to_pandas()
    if pd.api.types.is_float_dtype(values.dtype):
        values = values.astype("Int64") if (values.dropna() % 1 == 0).all() else values
    text: pd.Series[Any] = values.astype("string")
    return text


def _found(references: "pd.Series[Any]", keys: "pd.Series[Any]", start: int) -> Integers:
    first = keys.drop_duplicates()
    place = pd.Index(first).get_indexer(pd.Index(references))
    position = np.flatnonzero(~keys.duplicated().to_numpy())
    found = np.where(place >= 0, start + position[place], -2)
    return np.where(references.isna().to_numpy(), -1, found).astype(np.int64)


def _codes(tables: list[pa.Table], key: str) -> dict[str, Integers]:
    rows = len(tables[0]) + len(tables[1])
    result = {}
    for name in tables[0].column_names:
        if name != key:
            column = read_column(tables, name)
            result[name] = discretise(column, fit_bins(column, rows)).astype(np.int64)
    return result


def _share(flags: npt.NDArray[np.bool_]) -> float:
    return float(flags.mean()) if len(flags) else 0.0
