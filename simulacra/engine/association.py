"""Which sub-columns say most about which others: a quick screen by pairwise mutual information."""

import numpy as np

__all__ = ["strongest_sources"]

_CLASSES = 8
_ROWS = 10_000


def strongest_sources(
    codes: np.ndarray, columns: np.ndarray, count: int, seed: int
) -> tuple[tuple[int, ...], ...]:
    """Returns for each sub-column the `count` others with which it has the highest mutual information.

    Parts of the same column come first: one cannot be told without the others.

    Args:
        codes: `(rows, sub-columns)`.
        columns: The column of each sub-column.
        count: Sources for each, less than the number of sub-columns.
        seed: Of the rows that are looked at.
    """
    rng = np.random.default_rng([seed & (2**63 - 1), 0xA550])
    rows = codes if len(codes) <= _ROWS else codes[np.sort(rng.choice(len(codes), _ROWS, replace=False))]
    targets = rows.shape[1]
    classes = np.stack([_classes(rows[:, target]) for target in range(targets)], 1)
    hot = np.zeros((len(rows), targets * _CLASSES), np.float32)
    np.put_along_axis(hot, classes + np.arange(targets) * _CLASSES, 1.0, axis=1)
    joint = (hot.T @ hot) / len(rows)
    single = np.diagonal(joint)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = joint * np.log(joint / (single[:, None] * single[None]))
    information = np.nan_to_num(terms).reshape(targets, _CLASSES, targets, _CLASSES).sum((1, 3))
    information[columns[:, None] == columns[None]] = np.inf
    np.fill_diagonal(information, -np.inf)
    order = np.argsort(-information, axis=1, kind="stable")[:, :count]
    return tuple(tuple(sorted(row)) for row in order.tolist())


def _classes(codes: np.ndarray) -> np.ndarray:
    """Merges neighbouring codes into a few classes of about equal mass."""
    counts = np.bincount(codes)
    middle = (np.cumsum(counts) - counts / 2) / len(codes)
    classes: np.ndarray = np.minimum((middle * _CLASSES).astype(np.int64), _CLASSES - 1)[codes]
    return classes
