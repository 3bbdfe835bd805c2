"""Identical matches: do training records reappear in the synthetic data, whole or in most of their cells?

More exact copies of training than of holdout records decide; where there are as many of both, or none, the
largest number of cells that a record shares with one synthetic record does; and where that is equal too, how
close the nearest synthetic record is.
"""

import numpy as np
import numpy.typing as npt

from simulacra_qa.metrics.exchange import Labels, PrivacyTest, against
from simulacra_qa.metrics.nearest import nearest
from simulacra_qa.metrics.ranks import mid_ranks
from simulacra_qa.metrics.records import Records

__all__ = ["identical_match"]

_MOST_COMPARED = 400_000_000
_BLOCK = 512
_MOST_NEAR = 2_500

Floats = npt.NDArray[np.float64]


def identical_match(records: Records, labels: Labels) -> PrivacyTest:
    """Compares as many training and holdout records as there are labels with all synthetic ones."""
    ids_training, ids_holdout, ids_synthetic = records.identities()
    targets = np.concatenate([ids_training[: labels.members], ids_holdout[: labels.others]])
    whole = np.isin(targets, ids_synthetic).astype(np.float64)
    shared = _shared_cells(records, labels)
    closeness = _closeness(records, labels)
    # A whole copy weighs more than all partial ones together, and a shared cell more than all closeness.
    partial = shared + closeness / (closeness.sum() + 1.0)
    verdict = labels.of_scores(whole + partial / (partial.sum() + 1.0))
    inside, outside = whole[: labels.members], whole[labels.members :]
    variances = (
        (part.sum() + 1) * (len(part) - part.sum() + 1) / (len(part) + 2) ** 3 for part in (inside, outside)
    )
    return against(
        "identical_match",
        float(inside.mean()),
        float(outside.mean()),
        labels.members,
        verdict,
        float(np.sqrt(sum(variances))),
    )


def _closeness(records: Records, labels: Labels) -> Floats:
    """Returns each target's rank by its distance to the nearest synthetic record, the closest highest."""
    training, holdout, synthetic = records.points()
    targets = np.concatenate([training[: labels.members], holdout[: labels.others]])
    distances = np.empty(len(targets))
    for start in range(0, len(targets), _BLOCK):
        block = slice(start, start + _BLOCK)
        distances[block], _ = nearest(targets[block], synthetic[:_MOST_NEAR])
    return mid_ranks(-distances)


def _shared_cells(records: Records, labels: Labels) -> Floats:
    """Returns in how many cells each target equals the one synthetic record most like it."""
    training, holdout, synthetic = records.values()
    targets = np.concatenate([training[: labels.members], holdout[: labels.others]])
    most = max(_MOST_COMPARED // max(targets.size, 1), 1)
    synthetic = synthetic[:most]
    codes = np.empty((len(targets) + len(synthetic), targets.shape[1]), np.int16)
    for column in range(targets.shape[1]):
        both = np.concatenate([targets[:, column], synthetic[:, column]])
        codes[:, column] = np.unique(both, return_inverse=True)[1]  # missing values are equal to each other
    left, right = codes[: len(targets)], np.ascontiguousarray(codes[len(targets) :].T)
    shared = np.empty(len(left))
    for start in range(0, len(left), _BLOCK):
        block = left[start : start + _BLOCK]
        equal = np.zeros((len(block), right.shape[1]), np.uint16)
        for column, values in enumerate(right):
            equal += block[:, column, None] == values
        shared[start : start + _BLOCK] = equal.max(axis=1)
    return shared
