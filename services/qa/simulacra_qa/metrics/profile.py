"""Each column's summary in training, holdout and synthetic data: missing share, mean, density."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulacra_qa.metrics.bins import protected_bounds
from simulacra_qa.metrics.columns import Column, Kind

__all__ = ["Density", "Profile", "profile"]

_CELLS = 64
_TAIL = 0.005
_SMOOTH = np.array([1, 4, 6, 4, 1]) / 16

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Density:
    """Relative frequencies on an equally spaced grid that leaves out extremes, at most 1."""

    low: float
    high: float
    training: Floats
    synthetic: Floats


@dataclass(frozen=True, slots=True)
class Profile:
    """One column's summary; triples are training, holdout, synthetic. Categories have no mean and spread."""

    rows: tuple[int, int, int]
    missing: tuple[float, float, float]
    mean: tuple[float, float, float] | None = None
    spread: float | None = None
    density: Density | None = None


def profile(column: Column, rows: tuple[int, int, int]) -> Profile:
    """Summarises a column whose values are those of training, holdout and synthetic, one after the other."""
    cuts = np.cumsum(rows)[:2]
    missing = [float(part.mean()) if len(part) else 0.0 for part in np.split(column.missing, cuts)]
    shares = (missing[0], missing[1], missing[2])
    if column.kind is Kind.CATEGORICAL:
        return Profile(rows, shares)
    values = np.asarray(column.values, np.float64)
    training, holdout, synthetic = (part[~np.isnan(part)] for part in np.split(values, cuts))
    if not len(training) or not len(synthetic):
        return Profile(rows, shares)
    with np.errstate(over="ignore", invalid="ignore"):  # of numbers near the largest there is no mean
        mean = (_mean(training), _mean(holdout), _mean(synthetic))
        spread = float(training.std())
    if not np.isfinite([mean[0], mean[2], spread]).all():
        return Profile(rows, shares)
    return Profile(rows, shares, mean, spread, _density(training, holdout, synthetic))


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _density(training: Floats, holdout: Floats, synthetic: Floats) -> Density | None:
    ordered = np.sort(np.concatenate([training, holdout]))
    bounds = protected_bounds(ordered)
    if bounds is None:
        return None
    tails = ordered[[int(_TAIL * (len(ordered) - 1)), int((1 - _TAIL) * (len(ordered) - 1))]]
    low, high = max(bounds[0], float(tails[0])), min(bounds[1], float(tails[1]))
    # Cells must have a width: large numbers that hardly differ have none between them.
    if not high - low > _CELLS * np.spacing(max(abs(low), abs(high))):
        return None
    curves = [_curve(part, low, high) for part in (training, synthetic)]
    top = max(float(curve.max()) for curve in curves) or 1.0
    return Density(low, high, curves[0] / top, curves[1] / top)


def _curve(values: Floats, low: float, high: float) -> Floats:
    counts, _ = np.histogram(values, bins=_CELLS, range=(low, high))
    padded = np.pad(counts / len(values), 2, mode="reflect")
    return np.convolve(padded, _SMOOTH, mode="valid")
