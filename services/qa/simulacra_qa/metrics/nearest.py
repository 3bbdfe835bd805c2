"""The nearest neighbours of points, by L2 distance, in blocks of bounded memory."""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Features", "k_nearest", "nearest", "relative_squares"]

_BLOCK = 1024

Features = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


def nearest(queries: Features, points: Features) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Returns each query's distance to its nearest point, and that point."""
    index = relative_squares(queries, points).argmin(axis=1)
    return np.sqrt(_exact(queries, points[index])), index


def k_nearest(queries: Features, points: Features, k: int) -> Floats:
    """Returns each query's distances to its k nearest points, ascending: (queries, k)."""
    result = np.empty((len(queries), k))
    for start in range(0, len(queries), _BLOCK):
        block = queries[start : start + _BLOCK]
        squares = relative_squares(block, points)
        index = np.argpartition(squares, k - 1, axis=1)[:, :k]
        result[start : start + _BLOCK] = np.sqrt(np.sort(_exact(block[:, None, :], points[index]), axis=1))
    return result


def relative_squares(queries: Features, points: Features) -> Features:
    """Returns squared distances without the queries' own squares, which decide nothing: (queries, points)."""
    # On one thread, for how a product is divided among threads decides which of equally near points is taken.
    with _libraries().limit(limits=1, user_api="blas"):
        squares: Features = (points**2).sum(axis=1)[None, :] - 2 * queries @ points.T
    return squares


@cache
def _libraries() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _exact(left: Features, right: Features) -> Floats:
    # Products of float32 find the neighbour but blur its distance: equal records must be exactly 0 apart.
    exact: Floats = ((left.astype(np.float64) - right) ** 2).sum(axis=-1)
    return exact
