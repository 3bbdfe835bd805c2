"""The `*_max` of data whose rows belong together: those of one subject, or the children of one parent.

Such rows are alike, so a fresh sample of subjects differs more than one of as many independent rows would.
The ceiling divides the original's *subjects* at random into two parts, several times, and continues the mean
distance to the wanted numbers of subjects as `ceiling` does.
"""

import numpy as np
import numpy.typing as npt

from simulacra_qa.metrics.ceiling import Ceiling

__all__ = ["SubjectCeiling", "distance"]

_DIVISIONS = 6
_SCALES = (1, 2, 4)


Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class SubjectCeiling:
    """Expected TVD between a reference of so many subjects and a fresh sample of subjects.

    Args:
        original: Subjects of the original data, numbered from 0.
        reference: Subjects of the reference that accuracy is measured against.
        sample: Subjects of the synthetic data.
        rng: Draws the divisions.
    """

    def __init__(self, original: int, *, reference: int, sample: int, rng: np.random.Generator) -> None:
        self._ceiling = Ceiling(original, reference_rows=max(reference, 1), sample_rows=max(sample, 1))
        a, b = self._ceiling.parts
        self.possible = original >= 2 * _SCALES[-1] and a >= _SCALES[-1] and b >= _SCALES[-1]
        self._sides = np.full((len(_SCALES), _DIVISIONS, original), 2, np.int8)
        for division in range(_DIVISIONS if self.possible else 0):
            order = rng.permutation(original)
            for sides, scale in zip(self._sides, _SCALES, strict=True):
                sides[division, order[: a // scale]] = 0
                sides[division, order[a : a + b // scale]] = 1

    def expected_tvd(self, cells: Integers, subjects: Integers) -> float:
        """Returns the expected TVD of items of these cells, each of which a subject of the original has."""
        return float(self.tvds(cells, subjects).mean())

    def tvds(self, cells: Integers, subjects: Integers) -> Floats:
        """Returns the TVD of each division, continued to the wanted numbers; their mean is what to expect."""
        if not self.possible or not len(cells):
            return np.zeros(_DIVISIONS)
        present, cell = np.unique(cells, return_inverse=True)
        size = len(present)
        found = np.empty(self._sides.shape[:2])
        for scale, sides in enumerate(self._sides):
            for division, side in enumerate(sides):
                keys = side[subjects].astype(np.int64) * size + cell
                left, right, _ = np.bincount(keys, minlength=3 * size).reshape(3, size)
                found[scale, division] = distance(left, right)
        full, half, quarter = found.mean(axis=1)
        return np.asarray(found[0] * self._ceiling.continued(float(full), float(half), float(quarter)))


def distance(left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> float:
    """Returns the total variation distance of two histograms; of nothing and something, it is 1."""
    if not left.sum() or not right.sum():
        return float(bool(left.sum()) != bool(right.sum()))
    return 0.5 * float(np.abs(left / left.sum() - right / right.sum()).sum())
