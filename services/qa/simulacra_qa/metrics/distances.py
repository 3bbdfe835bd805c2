"""Distances: is synthetic data closer to the records it was trained on than to records it never saw?"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulacra_qa.metrics.accuracy import Interval
from simulacra_qa.metrics.nearest import nearest
from simulacra_qa.metrics.records import Records

__all__ = ["DistanceScores", "closest"]

_BLOCK = 1024
_QUANTILES = 101
_NORMAL_95 = 1.959964
_TIE = 1e-6
_IMAGINED = 2

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DistanceScores:
    """The schema's distances, the interval of the share, and quantiles of the distances for the curves.

    `records` of each set were compared by distance, `matched` for being identical.
    """

    records: int
    matched: int
    ims_training: float
    ims_holdout: float
    dcr_training: float
    dcr_holdout: float
    dcr_share: float
    dcr_share_interval: Interval
    quantiles_training: Floats
    quantiles_holdout: Floats


def closest(records: Records) -> Iterator[float | DistanceScores]:
    """Yields the share of work done, and at last the scores."""
    training, holdout, synthetic = records.points()
    to_training, to_holdout = np.empty(len(synthetic)), np.empty(len(synthetic))
    closest_record = np.empty(len(synthetic), np.int64)
    for start in range(0, len(synthetic), _BLOCK):
        block = slice(start, start + _BLOCK)
        left, i = nearest(synthetic[block], training)
        right, j = nearest(synthetic[block], holdout)
        to_training[block], to_holdout[block] = left, right
        closest_record[block] = np.where(left <= right, i, len(training) + j)
        yield min((start + _BLOCK) / len(synthetic), 1.0)
    ids_training, ids_holdout, ids_synthetic = records.identities()
    share, interval = _share(to_training, to_holdout, closest_record)
    grid = np.linspace(0, 1, _QUANTILES)
    yield DistanceScores(
        records=len(synthetic),
        matched=len(ids_synthetic),
        ims_training=float(np.isin(ids_synthetic, ids_training).mean()),
        ims_holdout=float(np.isin(ids_synthetic, ids_holdout).mean()),
        dcr_training=float(to_training.mean()),
        dcr_holdout=float(to_holdout.mean()),
        dcr_share=share,
        dcr_share_interval=interval,
        quantiles_training=np.quantile(to_training, grid),
        quantiles_holdout=np.quantile(to_holdout, grid),
    )


def _share(to_training: Floats, to_holdout: Floats, record: npt.NDArray[np.int64]) -> tuple[float, Interval]:
    tied = np.abs(to_training - to_holdout) <= _TIE
    closer = np.where(tied, 0.5, (to_training < to_holdout).astype(np.float64))
    share = float(closer.mean())
    # Two imagined records on either side keep the interval honest where there are few, or all agree
    # (Agresti and Coull, The American Statistician 52, 1998).
    size = len(closer) + 2 * _IMAGINED
    middle = (float(closer.sum()) + _IMAGINED) / size
    # Synthetic records that share their nearest record are one piece of evidence, not several.
    _, cluster = np.unique(record, return_inverse=True)
    sums = np.bincount(cluster, weights=closer - middle)
    error = float(np.sqrt((sums**2).sum() + _IMAGINED * (middle**2 + (1 - middle) ** 2))) / size
    low, high = middle - _NORMAL_95 * error, middle + _NORMAL_95 * error
    return share, Interval(max(min(low, share), 0.0), min(max(high, share), 1.0))
