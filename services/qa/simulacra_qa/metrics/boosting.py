"""What gradient boosting needs to be fitted on records some of whose columns have no value."""

import numpy as np
import numpy.typing as npt

__all__ = ["fittable"]

Floats = npt.NDArray[np.float64]


def fittable(records: Floats) -> Floats:
    """Returns (records, columns) with 0 in columns of NaN alone, in which scikit-learn finds no bins."""
    empty = np.isnan(records).all(axis=0)
    return np.where(empty, 0.0, records) if empty.any() else records
