"""How strongly two columns depend on each other: bias-corrected Cramér's V on the binned data.

One measure for numbers and categories alike, between 0 and 1, from the joint counts that accuracy has anyway.
The correction is Bergsma's (Journal of the Korean Statistical Society 42, 2013): independent columns score 0.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from simulacra_qa.metrics.accuracy import Counts, Discretised, Group

__all__ = ["association_matrix", "by_similarity"]

Matrix = npt.NDArray[np.float64]


def association_matrix(data: Discretised, counts: Mapping[Group, Counts], part: int) -> Matrix:
    """Returns the matrix of all pairs' associations in one part (0 training, 1 holdout, 2 synthetic)."""
    width = len(data.bins)
    matrix = np.eye(width)
    for group, cells in counts.items():
        if len(group) == 2:
            i, j = group
            table = cells[part].reshape(data.bins[i].size, data.bins[j].size)
            matrix[i, j] = matrix[j, i] = _cramers_v(table.astype(np.float64))
    return matrix


def by_similarity(matrix: Matrix) -> list[int]:
    """Orders columns so that associated ones are neighbours: the next is the closest to the last three."""
    width = len(matrix)
    if width < 3:
        return list(range(width))
    strength = matrix - np.eye(width)
    order = [int(strength.sum(axis=1).argmax())]
    left = set(range(width)) - set(order)
    while left:
        recent = strength[order[-3:]].sum(axis=0)
        order.append(max(left, key=lambda column: (recent[column], -column)))
        left.remove(order[-1])
    return order


def _cramers_v(table: Matrix) -> float:
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    total, (rows, columns) = table.sum(), table.shape
    if total < 2 or min(rows, columns) < 2:
        return 0.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / total
    phi2 = float(((table - expected) ** 2 / expected).sum()) / total
    phi2 = max(phi2 - (rows - 1) * (columns - 1) / (total - 1), 0.0)
    r = rows - (rows - 1) ** 2 / (total - 1)
    c = columns - (columns - 1) ** 2 / (total - 1)
    smaller = min(r, c) - 1
    return min(float(np.sqrt(phi2 / smaller)), 1.0) if smaller > 0 else 0.0
