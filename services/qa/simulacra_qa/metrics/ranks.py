"""Ranks from 1, the mean rank for ties."""

import numpy as np
import numpy.typing as npt

__all__ = ["mid_ranks"]


def mid_ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns each value's rank; equal values share the mean of theirs."""
    ordered = np.sort(values)
    below, upto = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    ranks: npt.NDArray[np.float64] = (below + upto + 1) / 2
    return ranks
