"""What an evaluation looks at: three tables of the same columns, capped, with their context and subjects."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa

from simulacra.errors import InvalidArgument, UnsupportedData
from simulacra_qa.metrics.columns import as_table
from simulacra_qa.metrics.sequences import Sequences, keyless_share, with_context

__all__ = ["Context", "Prepared", "Table", "prepare"]

Table: TypeAlias = pa.Table | pd.DataFrame


@dataclass(frozen=True, slots=True)
class Context:
    """The tables that the rows' subjects are described in, and the column that the rows' key refers to."""

    training: Table
    holdout: Table | None
    synthetic: Table
    key: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """The tables; the first `targets` columns are the table's own, the others its context's.

    `sequences` is set if the rows have a key that says whose they are, which is none of the columns.
    `unjudged` are columns that only the synthetic table has, `keyless` the shares of training and synthetic
    rows without a key, which are left out.
    """

    tables: list[pa.Table]
    targets: int
    sequences: Sequences | None = None
    unjudged: tuple[str, ...] = ()
    keyless: tuple[float, float] = (0.0, 0.0)

    @property
    def rows(self) -> tuple[int, int, int]:
        """The rows of each table."""
        return (len(self.tables[0]), len(self.tables[1]), len(self.tables[2]))


def prepare(
    training: Table,
    holdout: Table | None,
    synthetic: Table,
    *,
    key: str | None,
    context: Context | None,
    max_rows: int,
    seed: int,
) -> Prepared:
    """Aligns and caps the tables.

    Raises:
        InvalidArgument: A table lacks a column of the training table, or the key; there are no rows; or there
            is a context but no key.
        UnsupportedData: The training table has two columns of one name.
    """
    tables = _aligned(training, holdout, synthetic)
    known = set(tables[0].column_names)
    unjudged = tuple(name for name in as_table(synthetic).column_names if name not in known)
    if key is None:
        if context is not None:
            raise InvalidArgument.of("key", "is required with a context: name the column that refers to it")
        capped = [_capped(table, max_rows, stream) for stream, table in enumerate(tables, seed)]
        return Prepared(capped, len(known), unjudged=unjudged)
    everybody = tables
    tables, sequences = Sequences.grouped(tables, key, max_rows, seed)
    keyless = keyless_share(everybody[0], key), keyless_share(everybody[2], key)
    names = [name for name in tables[0].column_names if name != key]
    if not names:
        raise InvalidArgument.of("key", f'the training table has no column but the key "{key}"')
    added: list[str] = []
    if context is not None:
        contexts = _aligned(context.training, context.holdout, context.synthetic, prefix="context.")
        tables, added = with_context(tables, contexts, key, context.key)
    judged = [table.select([*names, *added]) for table in tables]
    return Prepared(judged, len(names), sequences, unjudged, keyless)


def _aligned(training: Table, holdout: Table | None, synthetic: Table, *, prefix: str = "") -> list[pa.Table]:
    """Returns the three tables with the training table's columns, in its order, and no others.

    `prefix` leads the tables' names in errors.
    """
    first = as_table(training)
    names = first.column_names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UnsupportedData(f'the training table has two columns named "{twice}"; rename one', column=twice)
    second = first.slice(0, 0) if holdout is None else as_table(holdout)
    third = as_table(synthetic)
    for role, table in (("holdout", second), ("synthetic", third)):
        missing = [name for name in names if name not in table.column_names]
        if missing:
            raise InvalidArgument.of(
                f"{prefix}{role}", f'the table lacks the column "{missing[0]}" of the {prefix}training table'
            )
    for role, table in (("training", first), ("synthetic", third)):
        if not len(table) or not names:
            raise InvalidArgument.of(f"{prefix}{role}", "the table is empty; there is nothing to evaluate")
    return [first, second.select(names), third.select(names)]


def _capped(table: pa.Table, most: int, seed: int) -> pa.Table:
    if len(table) <= most:
        return table
    return table.take(np.sort(np.random.default_rng(seed).choice(len(table), most, replace=False)))
