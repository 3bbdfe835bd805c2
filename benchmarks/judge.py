"""What a synthetic table is worth: accuracy, a classifier's verdict, and what it betrays of its training."""

import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from simulacra_qa import Reference, evaluate
from simulacra_qa.metrics.boosting import fittable

__all__ = ["auc", "c2st", "judge"]

_FOLDS = 5
_MOST_ROWS = 25_000


def judge(training: Path, holdout: Path, synthetic: Path, *, seed: int = 0) -> dict[str, Any]:
    """Returns accuracy with its ceiling, C2ST, the DCR share with its interval, and the AUC of each attack.

    The ceiling is the accuracy of the real holdout. Accuracy is measured against both halves together.
    """
    frames = [pd.read_parquet(path) for path in (training, holdout, synthetic)]
    found = evaluate(*frames, reference=Reference.ORIGINAL, seed=seed, embed=False)
    kinds = {name: getattr(found.marginals, name) for name in ("univariate", "bivariate", "trivariate")}
    kinds = {name: scores for name, scores in kinds.items() if scores}
    accuracy = {k: statistics.fmean(score.accuracy for score in scores) for k, scores in kinds.items()}
    ceiling = {k: statistics.fmean(score.ceiling for score in scores) for k, scores in kinds.items()}
    result: dict[str, Any] = {
        "accuracy": _rounded({"overall": statistics.fmean(accuracy.values()), **accuracy}),
        "ceiling": _rounded({"overall": statistics.fmean(ceiling.values()), **ceiling}),
        "c2st_auc": c2st(frames[0], frames[2], seed=seed),
        "c2st_auc_of_holdout": c2st(frames[0], frames[1], seed=seed),
    }
    if found.distances is not None:
        share, interval = found.distances.dcr_share, found.distances.dcr_share_interval
        result["dcr_share"] = round(share, 4)
        result["dcr_share_interval"] = [round(interval.low, 4), round(interval.high, 4)]
    if found.membership is not None:
        result["membership_auc"] = {
            attack.name: [round(x, 4) for x in (attack.auc, attack.interval.low, attack.interval.high)]
            for attack in found.membership.attacks
        }
    return result


def c2st(real: pd.DataFrame, other: pd.DataFrame, *, seed: int = 0) -> float:
    """Returns the cross-validated AUC of gradient boosting that tells the rows of two tables apart."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold

    rows = min(len(real), len(other), _MOST_ROWS)
    parts = [part.sample(rows, random_state=seed) for part in (real, other[real.columns])]
    features, categorical = _features(pd.concat(parts, ignore_index=True))
    labels = np.repeat([0, 1], rows)
    scores = []
    for fit, check in StratifiedKFold(_FOLDS, shuffle=True, random_state=seed).split(features, labels):
        model = HistGradientBoostingClassifier(categorical_features=categorical, random_state=seed)
        model.fit(fittable(features[fit]), labels[fit])
        scores.append(auc(model.predict_proba(features[check])[:, 1], labels[check]))
    return round(statistics.fmean(scores), 4)


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Returns the chance that a row of label 1 scores above one of label 0."""
    ranks = pd.Series(scores).rank().to_numpy()
    ones = int(labels.sum())
    return float((ranks[labels == 1].sum() - ones * (ones + 1) / 2) / (ones * (len(labels) - ones)))


def _features(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Returns numbers, and categories numbered by frequency with the rarest alike; missing is NaN."""
    columns, categorical = [], []
    for name in frame.columns:
        column = frame[name]
        number = pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column)
        categorical.append(not number)
        if number:
            plain = column.astype("int64").where(column.notna()) if column.dtype.kind == "M" else column
            columns.append(pd.to_numeric(plain, errors="coerce").astype("float64").to_numpy(na_value=np.nan))
        else:
            text = column.astype("string")
            places = pd.Series(range(text.nunique()), index=text.value_counts().index, dtype="float64")
            columns.append(text.map(places.clip(upper=250)).to_numpy("float64", na_value=np.nan))
    return np.stack(columns, 1), np.array(categorical)


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}
