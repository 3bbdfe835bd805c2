"""The one yardstick of all privacy tests: training and holdout records are exchangeable if nothing leaked.

A test asks how well an attack on each *target* works, be it a training record (a member) or a holdout record.
If the synthetic data tell no more of the one than of the other, then which targets are members is a random
label, given everything else. So the p-value of any statistic of labels is exact: it is the share of random
relabellings whose statistic is at least as large. Nothing is assumed of distributions, sample sizes or ties.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from simulacra_qa.metrics.accuracy import Interval

__all__ = ["Labels", "PrivacyTest", "Verdict", "against"]

_DRAWS = 1999
_BLOCK = 256
_NORMAL_95 = 1.959964
_SAME = 1e-9

Floats: TypeAlias = npt.NDArray[np.float64]
Statistic: TypeAlias = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True, slots=True)
class PrivacyTest:
    """How an attack succeeds on training records, and on holdout records as the reference.

    Attributes:
        name: The test, as in the contract.
        attempts: How many guesses were made on training records.
        training: The share of them that was right.
        holdout: The share of right guesses on holdout records.
        risk: (training - holdout) / (1 - holdout): what the attack gains from membership, of all there is to
            gain (Giomi et al., PoPETs 2023).
        interval: The interval of the risk.
        p_value: The chance of such a gain, or a larger one, if training left no trace.
        baseline: What the attack would reach on training records without the synthetic data, if known.
    """

    name: str
    attempts: int
    training: float
    holdout: float
    risk: float
    interval: Interval
    p_value: float
    baseline: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A statistic's p-value, and its standard deviation over the relabellings."""

    p_value: float
    spread: float


class Labels:
    """Random relabellings of `members` training and then `others` holdout records."""

    def __init__(self, members: int, others: int, rng: np.random.Generator) -> None:
        self.members, self.others = members, others
        observed = np.arange(members + others) < members
        self._drawn = rng.permuted(np.tile(observed, (_DRAWS, 1)), axis=1)  # (draws, targets)

    def of_scores(self, scores: Floats) -> Verdict:
        """Judges the sum of the members' scores, one score for each target."""
        return self.of_worst(scores[:, None])

    def of_worst(self, scores: Floats) -> Verdict:
        """Judges the largest of several sums (targets, attacks), each in units of its standard deviation."""
        n, total = self.members, self.members + self.others
        deviations = scores - scores.mean(axis=0)
        variance = n * self.others / (total * max(total - 1, 1)) * (deviations**2).sum(axis=0)
        scaled = deviations / np.sqrt(np.where(variance > 0, variance, 1.0))
        drawn = np.concatenate(
            [(self._drawn[i : i + _BLOCK].astype(np.float64) @ scaled) for i in range(0, _DRAWS, _BLOCK)]
        ).max(axis=1)
        return _judged(float(scaled[:n].sum(axis=0).max()), drawn)

    def of_matches(
        self,
        items: npt.NDArray[np.int64],
        targets: npt.NDArray[np.int64],
        statistic: Statistic,
        groups: npt.NDArray[np.int64] | None = None,
    ) -> Verdict:
        """Judges a statistic of how many members and how many others each item matches, summed over items.

        Args:
            items: With `targets`, the pairs that match; items are numbered from 0.
            targets: The matching targets.
            statistic: Given members and others that match (items, draws), the value of each item.
            groups: The group of each item; the worst group's sum, in standard deviations, decides. Absent,
                all are in one.
        """
        from scipy.sparse import csr_matrix

        if not len(items):
            return Verdict(1.0, 0.0)
        count = int(items.max()) + 1
        matches = csr_matrix((np.ones(len(items)), (items, targets)), (count, self.members + self.others))
        both = np.asarray(matches.sum(axis=1))
        groups = np.zeros(count, np.int64) if groups is None else groups
        summing = csr_matrix((np.ones(count), (groups, np.arange(count))))

        def sums(labels: npt.NDArray[np.bool_]) -> Floats:
            found = np.asarray(matches @ labels.T.astype(np.float64))
            return np.asarray(summing @ statistic(found, both - found))

        observed = sums(np.arange(self.members + self.others)[None, :] < self.members)
        drawn = np.concatenate(
            [sums(self._drawn[i : i + _BLOCK]) for i in range(0, _DRAWS, _BLOCK)], axis=1
        )  # (groups, draws)
        spread = np.maximum(drawn.std(axis=1, ddof=1, keepdims=True), _SAME)
        worst = _judged(float((observed / spread).max()), (drawn / spread).max(axis=0))
        return Verdict(worst.p_value, float(drawn.sum(axis=0).std(ddof=1)))


def against(
    name: str, training: float, holdout: float, attempts: int, verdict: Verdict, spread: float | None = None
) -> PrivacyTest:
    """Makes a test of two success rates; `spread` is the standard error of their difference.

    Without `spread`, that of the relabellings is taken, which must then be in units of rates.
    """
    left = max(1.0 - holdout, _SAME)
    risk = (training - holdout) / left
    reach = _NORMAL_95 * (verdict.spread if spread is None else spread) / left
    interval = Interval(max(risk - reach, -1.0), min(risk + reach, 1.0))
    return PrivacyTest(name, attempts, training, holdout, max(risk, -1.0), interval, verdict.p_value)


def _judged(observed: float, drawn: Floats) -> Verdict:
    spread = float(drawn.std(ddof=1))
    tolerance = _SAME * max(abs(observed), 1.0)
    larger = int((drawn >= observed - tolerance).sum())
    p_value = (larger + 1) / (len(drawn) + 1)
    if not larger and spread > 0:
        # Beyond all draws, the tail of a normal distribution says how far.
        z = (observed - float(drawn.mean())) / spread
        p_value = min(p_value, 0.5 * math.erfc(z / math.sqrt(2)))
    return Verdict(p_value, spread)
