"""The holdout: rows set aside before anything is learnt, whole subjects at a time."""

from collections.abc import Hashable, Sequence

import numpy as np

__all__ = ["numbered", "split_holdout"]


def numbered(subjects: Sequence[Hashable] | np.ndarray) -> np.ndarray:
    """Returns the subject of each row as 0..m-1.

    Args:
        subjects: The id of each row's subject, of any type or of several; rows without one (None, NaN) are
            of one subject, which protects them most.
    """
    ids = np.asarray(subjects)
    if ids.dtype != object:
        return np.unique(ids, return_inverse=True)[1].astype(np.int64)
    numbers: dict[Hashable, int] = {}
    known = (None if value != value else value for value in ids.tolist())
    return np.array([numbers.setdefault(value, len(numbers)) for value in known], np.int64)


def split_holdout(
    n_rows: int, fraction: float, seed: int, subjects: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Splits rows at random into a training and a holdout part.

    Args:
        n_rows: Number of rows.
        fraction: Share of the subjects that the holdout gets, in [0, 1).
        seed: Of the split.
        subjects: The subject of each row; rows of one subject stay together. Each row its own by default.

    Returns:
        The ascending row numbers of both parts. A table of fewer than two subjects has an empty holdout.
    """
    rng = np.random.default_rng([seed & (2**63 - 1), 0x5917])
    groups = np.arange(n_rows) if subjects is None else numbered(subjects)
    count = int(groups.max(initial=-1)) + 1
    held = np.zeros(count, bool)
    held[rng.permutation(count)[: min(round(count * fraction), max(count - 1, 0))]] = True
    in_holdout = held[groups] if count else np.zeros(0, bool)
    return np.flatnonzero(~in_holdout), np.flatnonzero(in_holdout)
