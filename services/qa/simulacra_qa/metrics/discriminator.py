"""How well gradient boosting tells synthetic from training records, on the columns themselves.

A sharper test than one on embeddings: 0.5 means that it cannot tell them apart. The same test of holdout
against training records is the reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simulacra_qa.metrics.boosting import fittable

__all__ = ["Discrimination", "discriminate"]

_FOLDS = 3
_ROUNDS = 60
_LEAST_RECORDS = 50

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Discrimination:
    """Cross-validated AUCs of a classifier against training records; `records` of each set were used."""

    synthetic: float
    holdout: float
    records: int


def discriminate(
    parts: Sequence[Floats], categorical: npt.NDArray[np.bool_], seed: int
) -> Discrimination | None:
    """Returns the AUCs, given training, holdout and synthetic records; None if there are too few."""
    training, holdout, synthetic = parts
    if len(training) < _LEAST_RECORDS:
        return None
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    # One thread: small trees gain nothing from more, and lose much where other work has the processors.
    with threadpool_limits(1, user_api="openmp"):
        model = HistGradientBoostingClassifier(
            max_iter=_ROUNDS,
            max_leaf_nodes=16,
            learning_rate=0.1,
            categorical_features=categorical,
            early_stopping=False,
            random_state=seed,
        )
        against = [_auc(model, training, other, seed) for other in (synthetic, holdout)]
    return Discrimination(against[0], against[1], len(training))


def _auc(model: Any, left: Floats, right: Floats, seed: int) -> float:
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    records = np.concatenate([left, right])
    labels = np.repeat([0, 1], [len(left), len(right)])
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    scores = []
    for fit, check in folds.split(records, labels):
        model.fit(fittable(records[fit]), labels[fit])
        scores.append(roc_auc_score(labels[check], model.predict_proba(records[check])[:, 1]))
    return float(np.mean(scores))
