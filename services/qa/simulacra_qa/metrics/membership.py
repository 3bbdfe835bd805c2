"""Membership inference: can an attacker who holds the synthetic data tell training records from others?

A battery of black-box attacks scores training records (members) and holdout records that nothing else used
here (non-members). The other half of the holdout is the attackers' reference of the population. What counts
is the worst attack, and how often it is right where it is sure: the true positive rate at a small false
positive rate (Carlini et al., arXiv 2112.03570). The attacks: closeness, closeness relative to the
reference, the ratio of densities (DOMIAS, van Breugel et al., arXiv 2302.12580), and the number of
neighbours within a radius (Hilprecht et al., 2019).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulacra_qa.metrics.accuracy import Interval
from simulacra_qa.metrics.exchange import Labels
from simulacra_qa.metrics.nearest import Features, k_nearest
from simulacra_qa.metrics.ranks import mid_ranks

__all__ = ["FALSE_POSITIVE_RATES", "Attack", "Battery", "attack_all"]

FALSE_POSITIVE_RATES = (0.001, 0.01, 0.1)
_MOST_TARGETS = 2_500
_LEAST_TARGETS = 20
_NEIGHBOURS = 5
_TINY = 1e-6
_NORMAL_95 = 1.959964

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack's success.

    Attributes:
        name: What it looks at.
        auc: The chance that it ranks a member above a non-member; 0.5 is guessing.
        interval: The interval of the AUC.
        p_value: The chance of such an AUC, or a larger one, if membership left no trace.
        hits: The true positive rate at each of `FALSE_POSITIVE_RATES`, with its Clopper-Pearson interval.
    """

    name: str
    auc: float
    interval: Interval
    p_value: float
    hits: tuple[tuple[float, Interval], ...]


@dataclass(frozen=True, slots=True)
class Battery:
    """All attacks, and the chance that any does as well as the best one if membership left no trace.

    That p-value accounts for having picked the best attack: it is that of the largest of all standardised
    AUCs over random relabellings of members and others.
    """

    attacks: tuple[Attack, ...]
    p_value: float

    @property
    def worst(self) -> Attack:
        """The most successful attack."""
        return max(self.attacks, key=lambda attack: attack.auc)


def attack_all(points: Sequence[Features], rng: np.random.Generator) -> Battery | None:
    """Runs the battery on training, holdout and synthetic points; None if there are too few records."""
    training, holdout, synthetic = points
    half = len(holdout) // 2
    targets = min(half, len(training), _MOST_TARGETS)
    if targets < _LEAST_TARGETS:
        return None
    members, others, reference = training[:targets], holdout[:targets], holdout[half:]
    records = np.concatenate([members, others])
    neighbours = min(_NEIGHBOURS, len(reference), len(synthetic))
    to_synthetic = k_nearest(records, synthetic, neighbours)
    to_reference = k_nearest(records, reference, neighbours)
    radius = float(np.median(to_synthetic[:, 0]))
    scores: dict[str, Floats] = {
        "closeness": -to_synthetic[:, 0],
        "relative closeness": to_reference[:, 0] - to_synthetic[:, 0],
        "density ratio": np.log(to_reference[:, -1] + _TINY) - np.log(to_synthetic[:, -1] + _TINY),
        "neighbourhood": (to_synthetic <= radius).sum(axis=1).astype(np.float64),
    }
    attacks = tuple(_judged(name, score, targets) for name, score in scores.items())
    ranks = np.stack([mid_ranks(score) for score in scores.values()], axis=1)
    return Battery(attacks, Labels(targets, targets, rng).of_worst(ranks).p_value)


def _judged(name: str, scores: Floats, members: int) -> Attack:
    inside, outside = scores[:members], scores[members:]
    ranks = mid_ranks(scores)
    n, m = len(inside), len(outside)
    auc = (float(ranks[:n].sum()) - n * (n + 1) / 2) / (n * m)
    # The variance under the null accounts for ties; that of the estimate is DeLong's.
    _, ties = np.unique(scores, return_counts=True)
    correction = float((ties.astype(np.float64) ** 3 - ties).sum()) / ((n + m) * (n + m - 1))
    null_error = math.sqrt(max((n + m + 1 - correction) / (12 * n * m), 1e-12))
    within = mid_ranks(inside), mid_ranks(outside)
    placed = (ranks[:n] - within[0]) / m, 1 - (ranks[n:] - within[1]) / n
    error = math.sqrt(placed[0].var(ddof=1) / n + placed[1].var(ddof=1) / m)
    reach = _NORMAL_95 * error
    return Attack(
        name=name,
        auc=auc,
        interval=Interval(max(auc - reach, 0.0), min(auc + reach, 1.0)),
        p_value=0.5 * math.erfc((auc - 0.5) / null_error / math.sqrt(2)),
        hits=tuple(_hits(inside, outside, rate) for rate in FALSE_POSITIVE_RATES),
    )


def _hits(inside: Floats, outside: Floats, rate: float) -> tuple[float, Interval]:
    from scipy.special import betaincinv

    # The lowest threshold that at most this share of the non-members exceeds.
    allowed = math.floor(rate * len(outside))
    threshold = np.sort(outside)[len(outside) - 1 - allowed]
    found, n = int((inside > threshold).sum()), len(inside)
    low = float(betaincinv(found, n - found + 1, 0.025)) if found else 0.0
    high = float(betaincinv(found + 1, n - found, 0.975)) if found < n else 1.0
    return found / n, Interval(low, high)
