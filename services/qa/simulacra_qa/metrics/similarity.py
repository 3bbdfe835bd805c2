"""Similarity: how alike synthetic and training records are as texts, embedded by a language model.

A record is its values in order of the column names, joined by blanks; a sequence is its records joined by
commas. The centroids' cosine is a coarse measure; the cross-validated AUC of a logistic regression on the
embeddings says how well a model can tell the sets apart. Holdout records in place of synthetic ones give the
reference of both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from simulacra_qa.metrics.minilm import Absent, Embedder, Vectors, find_weights

__all__ = ["Embedded", "Similar", "embed_texts", "record_texts", "sequence_texts", "similarity"]

LEAST_RECORDS, MOST_RECORDS = 500, 1_000
_TOKENS = 50_000
_LONGEST = 1_000
_FOLDS = 10
_LEAST_TO_TELL = 50
# The inverse of the penalty: there are about as many dimensions as records.
_STRENGTH = 0.01

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Similar:
    """The schema's similarity; AUCs are None with fewer than 50 records a set.

    Attributes:
        records: How many records of each set were embedded.
        cosine_synthetic: The cosine of the centroids of training and synthetic records.
        cosine_holdout: That of training and holdout records.
        auc_synthetic: How well training and synthetic records can be told apart.
        auc_holdout: How well training and holdout records can.
        projection: Two coordinates of every training, holdout and synthetic record, (3, records, 2): the main
            axes of the training records.
    """

    records: int
    cosine_synthetic: float
    cosine_holdout: float | None
    auc_synthetic: float | None
    auc_holdout: float | None
    projection: Floats


@dataclass(frozen=True, slots=True)
class Embedded:
    """The unit vectors of training, holdout and synthetic records; the holdout may be empty."""

    training: Vectors
    holdout: Vectors
    synthetic: Vectors


def record_texts(table: pa.Table) -> list[str]:
    """Returns each row as text."""
    columns = [
        [_text(value) for value in table.column(name).to_pylist()] for name in sorted(table.column_names)
    ]
    return [" ".join(text for text in row if text)[:_LONGEST] for row in zip(*columns, strict=True)]


def sequence_texts(table: pa.Table, lengths: npt.NDArray[np.int64]) -> list[str]:
    """Returns each sequence as text, given the rows of one after the other and how many each has."""
    rows = iter(record_texts(table))
    return [", ".join(next(rows) for _ in range(length))[:_LONGEST] for length in lengths]


def _text(value: object) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def embed_texts(parts: Sequence[Sequence[str]], weights: Path | None) -> Embedded | Absent:
    """Embeds equally many texts of each part: 500 to 1,000, by how long they are, or all of fewer."""
    folder = find_weights(weights)
    if isinstance(folder, Absent):
        return folder
    try:
        embedder = Embedder(folder)
    except Exception as error:  # whatever is wrong with the files, the rest of the report must not miss out
        return Absent(f'the weights in "{folder}" cannot be read ({error}); get the folder again')
    first = [text for part in parts for text in part[:50]]
    length = embedder.tokens(first) / max(len(first), 1)
    most = int(np.clip(_TOKENS / (3 * max(length, 1.0)), LEAST_RECORDS, MOST_RECORDS))
    size = min(most, *(len(part) for part in parts if len(part)))
    texts = [text for part in parts for text in part[:size]]
    vectors = np.split(embedder.embed(texts), np.cumsum([min(len(part), size) for part in parts])[:2])
    return Embedded(*vectors)


def similarity(embedded: Embedded, seed: int) -> Similar:
    """Compares the sets."""
    training, holdout, synthetic = embedded.training, embedded.holdout, embedded.synthetic
    there = len(holdout) > 0
    return Similar(
        records=len(training),
        cosine_synthetic=_cosine(training, synthetic),
        cosine_holdout=_cosine(training, holdout) if there else None,
        auc_synthetic=_auc(training, synthetic, seed),
        auc_holdout=_auc(training, holdout, seed) if there else None,
        projection=_projected(training, holdout, synthetic),
    )


def _cosine(left: Vectors, right: Vectors) -> float:
    a, b = left.mean(axis=0, dtype=np.float64), right.mean(axis=0, dtype=np.float64)
    return float(np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1.0, 1.0))


def _auc(left: Vectors, right: Vectors, seed: int) -> float | None:
    if min(len(left), len(right)) < _LEAST_TO_TELL:
        return None
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    vectors = np.concatenate([left, right]).astype(np.float64)
    labels = np.repeat([0, 1], [len(left), len(right)])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=_STRENGTH, max_iter=1000))
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    # One thread: the matrices are small, and more threads only wait for each other on a busy machine.
    with threadpool_limits(1):
        return float(cross_val_score(model, vectors, labels, cv=folds, scoring="roc_auc").mean())


def _projected(training: Vectors, holdout: Vectors, synthetic: Vectors) -> Floats:
    middle = training.mean(axis=0)
    axes = np.linalg.svd(training - middle, full_matrices=False)[2][:2]  # (2, width)
    size = len(training)
    parts = [
        part if len(part) == size else np.full_like(training, np.nan)
        for part in (training, holdout, synthetic)
    ]
    projected: Floats = np.stack([(part - middle) @ axes.T for part in parts]).astype(np.float64)
    return projected
