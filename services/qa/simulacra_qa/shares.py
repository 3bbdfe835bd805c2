"""The joint distributions that may be shown: shares by label, with bins of few training rows left out."""

import io
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from simulacra.domain import PairScore
from simulacra_qa.evaluation import Evaluation
from simulacra_qa.metrics.bins import RARE_BELOW
from simulacra_qa.metrics.labels import Axis, axis, readable

__all__ = ["axes_of", "joint_shares", "pair_file", "read_pairs"]

Shares = npt.NDArray[np.float64]

_SCHEMA = pa.schema(
    [
        ("first_column", pa.string()),
        ("second_column", pa.string()),
        ("accuracy", pa.float64()),
        ("accuracy_max", pa.float64()),
        ("first_labels", pa.list_(pa.string())),
        ("second_labels", pa.list_(pa.string())),
        ("training_shares", pa.list_(pa.float32())),
        ("synthetic_shares", pa.list_(pa.float32())),
    ]
)
_ROWS_AT_ONCE = 500
_DIGITS = 7


def axes_of(evaluation: Evaluation) -> tuple[Axis, ...]:
    """Returns each column's labels and which of its bins they stand for."""
    counts = evaluation.marginals.counts
    return tuple(readable(axis(bins, counts[(i,)])) for i, bins in enumerate(evaluation.data.bins))


def joint_shares(
    evaluation: Evaluation, axes: Sequence[Axis], group: tuple[int, ...]
) -> tuple[Shares, Shares]:
    """Returns a column's (labels) or pair's (labels, labels) shares: training (0 if few rows), synthetic."""
    counts = evaluation.marginals.counts[group]
    sizes = [evaluation.data.bins[i].size for i in group]
    parts = counts[[0, 2]].reshape(2, *sizes).astype(np.int64)
    for dimension, column in enumerate(group):
        moved = axes[column].shown(np.moveaxis(parts, 1 + dimension, -1))
        parts = np.moveaxis(moved, -1, 1 + dimension)
    training, synthetic = parts
    total = evaluation.rows
    return np.where(training < RARE_BELOW, 0, training) / total[0], synthetic / total[2]


def pair_file(evaluation: Evaluation) -> bytes:
    """Returns the scores of all pairs with their distributions as a Parquet file."""
    axes, names = axes_of(evaluation), evaluation.columns
    sink, scores = io.BytesIO(), evaluation.marginals.bivariate
    with pq.ParquetWriter(sink, _SCHEMA, compression="zstd") as writer:
        for start in range(0, len(scores), _ROWS_AT_ONCE):
            rows = []
            for score in scores[start : start + _ROWS_AT_ONCE]:
                first, second = score.columns
                training, synthetic = joint_shares(evaluation, axes, (first, second))
                labels = axes[first].labels, axes[second].labels
                figures = (round(score.accuracy, _DIGITS), round(score.ceiling, _DIGITS))
                shares = (training.ravel().tolist(), synthetic.ravel().tolist())
                cells = (names[first], names[second], *figures, *labels, *shares)
                rows.append(dict(zip(_SCHEMA.names, cells, strict=True)))
            writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))
        writer.write_table(_unfolding(evaluation))
    return sink.getvalue()


def _unfolding(evaluation: Evaluation) -> pa.Table:
    """The scores of each column with itself in the next row, which have no distribution here."""
    scores = evaluation.coherence.transitions if evaluation.coherence else ()
    rows = [
        {
            "first_column": evaluation.columns[score.columns[0]],
            "second_column": evaluation.columns[score.columns[1]],
            "accuracy": round(score.accuracy, _DIGITS),
            "accuracy_max": round(score.ceiling, _DIGITS),
        }
        for score in scores
    ]
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def read_pairs(file: bytes) -> Iterator[PairScore]:
    """Yields what `pair_file` wrote."""
    for batch in pq.ParquetFile(io.BytesIO(file)).iter_batches(_ROWS_AT_ONCE):
        for row in batch.to_pylist():
            yield PairScore(**row)
