"""Rows that belong to subjects: which subject each row is of, and rows of context joined to them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from simulacra.errors import InvalidArgument
from simulacra_qa.metrics.accuracy import Subjects
from simulacra_qa.metrics.similarity import sequence_texts

__all__ = ["Sequences", "with_context"]

Integers = npt.NDArray[np.int64]
_ROLES = ("training", "holdout", "synthetic")


@dataclass(frozen=True, slots=True)
class Sequences(Subjects):
    """The subjects of all rows, training, holdout, synthetic: the rows of one subject are side by side."""

    @property
    def lengths(self) -> Integers:
        """How many rows each subject has."""
        return np.bincount(self.of_rows, minlength=sum(self.counts))

    @property
    def sequential(self) -> bool:
        """Whether any subject has several rows."""
        return bool((self.lengths > 1).any())

    @property
    def starts(self) -> Integers:
        """Each subject's first row."""
        starts: Integers = np.cumsum(self.lengths) - self.lengths
        return starts

    def one_row_each(self, rng: np.random.Generator) -> list[Integers]:
        """Returns a random row of every subject, for each table."""
        picked = self.starts + np.floor(rng.random(len(self.lengths)) * self.lengths).astype(np.int64)
        return np.split(picked, np.cumsum(self.counts)[:2])

    def texts(
        self, tables: list[pa.Table], targets: int, most: int, rng: np.random.Generator
    ) -> Iterator[list[str]]:
        """Yields each table's random subjects, at most so many, as texts of the first `targets` columns."""
        firsts = np.cumsum([0, *self.counts])
        offset = 0
        for table, first, count in zip(tables, firsts, self.counts, strict=False):
            chosen = first + rng.permutation(count)[:most]
            lengths = self.lengths[chosen]
            rows = [
                np.arange(self.starts[s], self.starts[s] + n) for s, n in zip(chosen, lengths, strict=True)
            ]
            picked = np.concatenate(rows) - offset if rows else np.empty(0, np.int64)
            yield sequence_texts(table.select(range(targets)).take(picked), lengths)
            offset += len(table)

    @classmethod
    def grouped(
        cls, tables: list[pa.Table], key: str, most_rows: int, seed: int
    ) -> tuple[list[pa.Table], "Sequences"]:
        """Returns the tables with each subject's rows side by side, in their order, and the subjects.

        Rows without a key belong to nobody and are left out; of larger tables, whole subjects are drawn.

        Raises:
            InvalidArgument: A table lacks the key, or has no row with one.
        """
        grouped, subjects, counts, start = [], [], [], 0
        for role, table in zip(_ROLES, tables, strict=True):
            if key not in table.column_names:
                raise InvalidArgument.of("key", f'the {role} table lacks the key "{key}"')
            codes, distinct = pd.factorize(_key(table, key))
            if role != "holdout" and not len(distinct):
                raise InvalidArgument.of("key", f'no row of the {role} table has a value in "{key}"')
            rows = np.flatnonzero(codes >= 0)
            if len(rows) > most_rows:
                share = most_rows / len(rows)
                kept = np.random.default_rng([seed, start]).random(len(distinct)) < share
                rows = rows[kept[codes[rows]]]
            rows = rows[np.argsort(codes[rows], kind="stable")]
            _, of_table = np.unique(codes[rows], return_inverse=True)
            counts.append(int(of_table.max()) + 1 if len(rows) else 0)
            subjects.append(of_table + start)
            start += counts[-1]
            grouped.append(table.take(rows))
        return grouped, cls(np.concatenate(subjects).astype(np.int64), (counts[0], counts[1], counts[2]))


def keyless_share(table: pa.Table, key: str) -> float:
    """Returns the share of rows that have no key."""
    return float(np.mean(pd.isna(_key(table, key)))) if len(table) else 0.0


def with_context(
    tables: list[pa.Table], contexts: list[pa.Table], key: str, context_key: str
) -> tuple[list[pa.Table], list[str]]:
    """Returns the tables with their context's columns after their own, and the names of those columns.

    A column of the context is named "name (context)". Rows whose key leads nowhere have no context.

    Raises:
        InvalidArgument: A context lacks its key or a column of the training context.
    """
    names = [name for name in contexts[0].column_names if name != context_key]
    joined = []
    for role, table, context in zip(_ROLES, tables, contexts, strict=True):
        missing = [name for name in (context_key, *names) if name not in context.column_names]
        if missing:
            raise InvalidArgument.of("context", f'the {role} context lacks the column "{missing[0]}"')
        keys = pd.Index(_key(context, context_key))
        first = np.flatnonzero(~keys.duplicated())
        place = keys[first].get_indexer(pd.Index(_key(table, key)))
        rows = pa.array(np.where(place >= 0, first[place] if len(first) else 0, 0), mask=place < 0)
        for name in names:
            table = table.append_column(f"{name} (context)", context.column(name).take(rows))
        joined.append(table)
    return joined, [f"{name} (context)" for name in names]


def _key(table: pa.Table, name: str) -> Any:
    values = table.column(name).to_pandas()
    if pd.api.types.is_float_dtype(values.dtype) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")
    return values.astype("string")
