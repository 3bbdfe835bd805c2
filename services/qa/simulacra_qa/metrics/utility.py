"""Utility: does a model that learnt from synthetic records predict as well as one that learnt from real ones?

Gradient boosting learns the target from all other columns, once from synthetic and once from as many training
records, and predicts holdout records, which neither has seen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simulacra_qa.metrics.accuracy import Interval
from simulacra_qa.metrics.boosting import fittable
from simulacra_qa.metrics.records import Records

__all__ = ["DETECT", "Utility", "detected_target", "utility"]

DETECT = "(detect)"
_ROUNDS = 100
_LEAST_RECORDS = 50
_MOST_CLASSES = 20
_RESAMPLES = 200

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Utility:
    """A model's success on holdout records, by what it learnt from.

    Attributes:
        target: The position of the column that is predicted.
        measure: "AUC", averaged over classes, or "R2".
        synthetic: Of the model that learnt from synthetic records.
        training: Of the model that learnt from training records.
        difference: The interval of synthetic - training, over resampled holdout records.
    """

    target: int
    measure: str
    synthetic: float
    training: float
    difference: Interval


def detected_target(association: Floats, categorical: npt.NDArray[np.bool_]) -> int:
    """Returns the column that depends most on the others, a category if there is any."""
    strength = association.sum(axis=0) - 1
    if categorical.any():
        strength = np.where(categorical, strength, -np.inf)
    return int(strength.argmax())


def utility(records: Records, target: int, seed: int) -> Utility | None:
    """Trains on synthetic, tests on holdout; None if there are too few records or nothing to predict."""
    from threadpoolctl import threadpool_limits

    (training, holdout, synthetic), categorical = records.cells(records.size)
    if len(training) < _LEAST_RECORDS or training.shape[1] < 2:
        return None
    others = np.arange(training.shape[1]) != target
    known = [part[~np.isnan(part[:, target])] for part in (training, holdout, synthetic)]
    if min(len(part) for part in known) < _LEAST_RECORDS:
        return None
    classes = _classes(known[0][:, target]) if categorical[target] else None
    if classes is not None and len(classes) < 2:
        return None
    fit = _fit_classifier(classes) if classes is not None else _fit_regressor
    with threadpool_limits(1, user_api="openmp"):
        predictions = [
            fit(part[:, others], part[:, target], known[1][:, others], categorical[others], seed)
            for part in (known[2], known[0])
        ]
    measure: Callable[[Floats, Floats], float] = _r2 if classes is None else _auc_of(classes)
    truth = known[1][:, target]
    values = [measure(truth, prediction) for prediction in predictions]
    rng = np.random.default_rng([seed, 5])
    differences = []
    for _ in range(_RESAMPLES):
        rows = rng.integers(0, len(truth), len(truth))
        differences.append(
            measure(truth[rows], predictions[0][rows]) - measure(truth[rows], predictions[1][rows])
        )
    low, high = np.quantile(differences, [0.025, 0.975])
    name = "R2" if classes is None else "AUC"
    return Utility(target, name, values[0], values[1], Interval(float(low), float(high)))


def _classes(values: Floats) -> Floats:
    distinct, counts = np.unique(values, return_counts=True)
    return distinct[np.argsort(-counts, kind="stable")[:_MOST_CLASSES]]


def _fit_classifier(classes: Floats) -> Callable[..., Floats]:
    def fitted(x: Floats, y: Floats, asked: Floats, categorical: Any, seed: int) -> Floats:
        from sklearn.ensemble import HistGradientBoostingClassifier

        usable = np.isin(y, classes)
        result = np.zeros((len(asked), len(classes)))
        found = np.unique(y[usable])
        if len(found) < 2:  # a model that knows one class only guesses
            return result
        model = HistGradientBoostingClassifier(
            max_iter=_ROUNDS,
            max_leaf_nodes=16,
            categorical_features=categorical,
            early_stopping=False,
            random_state=seed,
        ).fit(fittable(x[usable]), y[usable])
        place = [int(np.flatnonzero(classes == value)[0]) for value in model.classes_]
        result[:, place] = model.predict_proba(asked)
        return result

    return fitted


def _fit_regressor(x: Floats, y: Floats, asked: Floats, categorical: Any, seed: int) -> Floats:
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(
        max_iter=_ROUNDS,
        max_leaf_nodes=16,
        categorical_features=categorical,
        early_stopping=False,
        random_state=seed,
    )
    prediction: Floats = model.fit(fittable(x), y).predict(asked)
    return prediction


def _auc_of(classes: Floats) -> Callable[[Floats, Floats], float]:
    from simulacra_qa.metrics.ranks import mid_ranks

    def auc(truth: Floats, scores: Floats) -> float:
        """The mean over classes of the AUC of one against all others."""
        found = []
        for place, value in enumerate(classes):
            inside = truth == value
            n, m = int(inside.sum()), int((~inside).sum())
            if n and m:
                found.append((mid_ranks(scores[:, place])[inside].sum() - n * (n + 1) / 2) / (n * m))
        return float(np.mean(found)) if found else 0.5

    return auc


def _r2(truth: Floats, prediction: Floats) -> float:
    spread = float(((truth - truth.mean()) ** 2).sum())
    return 1.0 - float(((truth - prediction) ** 2).sum()) / spread if spread else 0.0
