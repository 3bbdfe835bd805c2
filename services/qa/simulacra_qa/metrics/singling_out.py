"""Singling out: do the synthetic data suggest descriptions that fit exactly one training record?

An attacker reads descriptions off the synthetic data: a value that occurs there once, or a few cells of one
synthetic record (a category is equal, a number at least or at most as large) that fit no other synthetic
record. The description singles out if exactly one original record fits it. The definition is that of Giomi
et al., "A Unified Framework for Quantifying Privacy Risk in Synthetic Data" (PoPETs 2023).
"""

import numpy as np
import numpy.typing as npt

from simulacra_qa.metrics.exchange import Labels, PrivacyTest, against
from simulacra_qa.metrics.records import Records

__all__ = ["singling_out"]

_MOST_SINGLE = 500
_CANDIDATES = 2000
_MOST_JOINT = 1000
_CELLS = 4
_MOST_FITTING = 50
_BLOCK = 128

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
# Descriptions: columns (n, cells), values (n, cells), and which way a number compares: -1, 0 is equal, 1.
Descriptions = tuple[Indices, Floats, npt.NDArray[np.int8]]


def singling_out(records: Records, labels: Labels, rng: np.random.Generator) -> PrivacyTest | None:
    """Runs the attack on the records that the labels are of; None if no description could be read off."""
    training, holdout, synthetic = records.values()
    targets = np.concatenate([training[: labels.members], holdout[: labels.others]])
    synthetic = synthetic[: labels.members]
    found = [
        part
        for part in (_single(synthetic, rng), _joint(synthetic, records.categorical, rng))
        if len(part[0])
    ]
    pairs = [_fits(description, targets) for description in found]
    attempts = sum(len(description[0]) for description in found)
    if not attempts:
        return None
    starts = np.cumsum([0, *(len(description[0]) for description in found)])
    items = np.concatenate([item + start for (item, _), start in zip(pairs, starts, strict=False)])
    rows = np.concatenate([row for _, row in pairs])
    few = np.bincount(items, minlength=attempts) <= _MOST_FITTING  # the others never fit exactly one
    items, rows = items[few[items]], rows[few[items]]
    verdict = labels.of_matches(items, rows, lambda a, b: 1.0 * (a == 1) - 1.0 * (b == 1))
    inside = np.bincount(items[rows < labels.members], minlength=attempts)
    outside = np.bincount(items[rows >= labels.members], minlength=attempts)
    rates = [float((count == 1).mean()) for count in (inside, outside)]
    return against("singling_out", rates[0], rates[1], attempts, verdict, verdict.spread / attempts)


def _single(synthetic: Floats, rng: np.random.Generator) -> Descriptions:
    columns, values = [], []
    for column in range(synthetic.shape[1]):
        distinct, counts = np.unique(synthetic[:, column], return_counts=True)
        once = distinct[(counts == 1) & ~np.isnan(distinct)]
        columns.append(np.full(len(once), column))
        values.append(once)
    chosen, value = np.concatenate(columns), np.concatenate(values)
    kept = rng.choice(len(value), min(len(value), _MOST_SINGLE), replace=False)
    return chosen[kept, None], value[kept, None], np.zeros((len(kept), 1), np.int8)


def _joint(synthetic: Floats, categorical: npt.NDArray[np.bool_], rng: np.random.Generator) -> Descriptions:
    rows, width = synthetic.shape
    cells = min(_CELLS, width)
    columns = rng.random((_CANDIDATES, width)).argsort(axis=1)[:, :cells]
    values = synthetic[rng.integers(0, rows, _CANDIDATES)[:, None], columns]
    way = np.zeros(values.shape, np.int8)
    for column in np.flatnonzero(~categorical):
        known = synthetic[~np.isnan(synthetic[:, column]), column]
        middle = np.median(known) if len(known) else 0.0
        way[columns == column] = np.where(values[columns == column] > middle, 1, -1)
    candidates = columns, values, way
    fitting = np.bincount(_fits(candidates, synthetic)[0], minlength=_CANDIDATES)
    kept = np.flatnonzero(fitting == 1)[:_MOST_JOINT]
    return columns[kept], values[kept], way[kept]


def _fits(descriptions: Descriptions, table: Floats) -> tuple[Indices, Indices]:
    """Returns the pairs of a description and a row of the table that fit."""
    columns, values, way = descriptions
    by_column = np.ascontiguousarray(table.T)
    items, rows = [], []
    for start in range(0, len(columns), _BLOCK):
        block = slice(start, start + _BLOCK)
        fit = np.ones((len(columns[block]), len(table)), np.bool_)
        for cell in range(columns.shape[1]):
            actual = by_column[columns[block, cell]]
            wanted, sense = values[block, cell, None], way[block, cell, None]
            # A missing cell fits missing ones only; of numbers, NaN compares false.
            equal = (actual == wanted) | (np.isnan(wanted) & np.isnan(actual))
            fit &= equal | ((sense > 0) & (actual > wanted)) | ((sense < 0) & (actual < wanted))
        item, row = np.nonzero(fit)
        items.append(item + start)
        rows.append(row)
    return np.concatenate(items), np.concatenate(rows)
