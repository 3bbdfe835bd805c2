"""Do rare values and extremes of single training records reappear in the synthetic data?

Protected generators replace rare categories and clip extremes, so none should; real data share some by
chance. The holdout says how many: a value that few records hold, all of them in training, should not be found
more often in the synthetic data than one held in the holdout only; nor should the smallest and largest values
of the training data be closer to synthetic values than those of the holdout.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from simulacra_qa.metrics.bins import EXTREMES, RARE_BELOW, RARE_TOKEN
from simulacra_qa.metrics.columns import Column, Kind
from simulacra_qa.metrics.exchange import Labels, PrivacyTest, against
from simulacra_qa.metrics.ranks import mid_ranks

__all__ = ["Leaks"]

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@dataclass(slots=True)
class Leaks:
    """What was found column by column.

    Attributes:
        targets: The rows of the sampled training and holdout records.
        rows: How many rows each part has.
        subjects: Whose each row is, if several may be of one.
        rare_categories: How many categories appear in the synthetic data that fewer than `RARE_BELOW` of
            all training rows hold.
    """

    targets: Rows
    rows: tuple[int, int, int]
    subjects: Rows | None = None
    rare_categories: int = 0
    _items: list[Rows] = field(default_factory=list)
    _found: list[npt.NDArray[np.bool_]] = field(default_factory=list)
    _categorical: list[npt.NDArray[np.bool_]] = field(default_factory=list)
    _holders: list[Rows] = field(default_factory=list)
    _closeness: Floats = field(default_factory=lambda: np.empty(0))
    _extremes: list[Rows] = field(default_factory=list)
    _hit: list[npt.NDArray[np.bool_]] = field(default_factory=list)
    _count: int = 0

    def add(self, column: Column) -> None:
        """Looks at one column of all rows."""
        values = np.where(column.missing, np.nan, column.values.astype(np.float64))
        synthetic = np.unique(values[self.rows[0] + self.rows[1] :])
        synthetic = synthetic[~np.isnan(synthetic)]
        if column.kind is Kind.CATEGORICAL:
            self._count_categories(column, synthetic)
        targets = values[self.targets]
        self._rare(targets, synthetic, categorical=column.kind is Kind.CATEGORICAL)
        if column.kind is not Kind.CATEGORICAL:
            self._add_extremes(targets, synthetic)

    def tests(self, labels: Labels) -> list[PrivacyTest]:
        """Returns the tests `rare_value` and `extreme`, where there was something to test."""
        return [test for test in (self._rare_test(labels), self._extreme_test(labels)) if test is not None]

    def _count_categories(self, column: Column, synthetic: Floats) -> None:
        codes = column.values[: self.rows[0]].astype(np.int64)
        if self.subjects is not None:  # one subject's rows count once
            codes = np.unique(self.subjects[: self.rows[0]] * (len(column.categories) + 1) + codes + 1)
            codes = codes % (len(column.categories) + 1) - 1
        counts = np.bincount(codes[codes >= 0], minlength=len(column.categories))
        present = synthetic.astype(np.int64)
        rare = present[(counts[present] > 0) & (counts[present] < RARE_BELOW)]
        self.rare_categories += sum(column.categories[code] != RARE_TOKEN for code in rare)

    def _rare(self, targets: Floats, synthetic: Floats, *, categorical: bool) -> None:
        place = np.flatnonzero(~np.isnan(targets))
        distinct, item, counts = np.unique(targets[place], return_inverse=True, return_counts=True)
        rare = counts < RARE_BELOW
        number = np.cumsum(rare) - 1 + self._count
        kept = rare[item]
        self._items.append(number[item[kept]])
        self._holders.append(place[kept])
        self._found.append(np.isin(distinct[rare], synthetic))
        self._categorical.append(np.full(int(rare.sum()), categorical))
        self._count += int(rare.sum())

    def _add_extremes(self, targets: Floats, synthetic: Floats) -> None:
        known = np.sort(targets[~np.isnan(targets)])
        if not len(self._closeness):
            self._closeness = np.zeros(len(self.targets))
        if len(known) <= 4 * EXTREMES or not len(synthetic):
            return
        with np.errstate(over="ignore", invalid="ignore"):  # numbers near the largest have no distance
            for bound, side in ((known[EXTREMES], -1.0), (known[-EXTREMES - 1], 1.0)):
                rows = np.flatnonzero(side * (targets - bound) > 0)
                if not len(rows):
                    continue
                near = _distances(targets[rows], synthetic)
                relative = near / np.abs(targets[rows] - bound)
                self._closeness[rows] -= (mid_ranks(np.nan_to_num(relative)) - 0.5) / len(rows) - 0.5
                self._extremes.append(rows)
                self._hit.append(near == 0)

    def _rare_test(self, labels: Labels) -> PrivacyTest | None:
        if not self._count:
            return None
        items, holders = np.concatenate(self._items), np.concatenate(self._holders)
        found = np.concatenate(self._found)
        held = np.bincount(items, minlength=self._count)
        by_members = np.bincount(items[holders < labels.members], minlength=self._count)
        own, others = by_members == held, by_members == 0
        shown = found[items]
        # Numbers that coincide by chance must not drown categories that do not.
        present, renumbered = np.unique(items[shown], return_inverse=True)
        groups = np.concatenate(self._categorical)[present].astype(np.int64)
        verdict = labels.of_matches(
            renumbered.astype(np.int64),
            holders[shown],
            lambda a, b: 1.0 * (b == 0) - 1.0 * (a == 0),
            groups,
        )
        rates = [float(found[group].mean()) if group.any() else 0.0 for group in (own, others)]
        scale = max((int(own.sum()) + int(others.sum())) / 2, 1.0)
        return against("rare_value", rates[0], rates[1], int(own.sum()), verdict, verdict.spread / scale)

    def _extreme_test(self, labels: Labels) -> PrivacyTest | None:
        if not self._extremes:
            return None
        rows, hit = np.concatenate(self._extremes), np.concatenate(self._hit)
        own = rows < labels.members
        verdict = labels.of_scores(self._closeness)
        if not own.any() or own.all():
            return None
        inside, outside = hit[own], hit[~own]
        spread = float(
            np.sqrt(sum((h.sum() + 1) * ((~h).sum() + 1) / (len(h) + 2) ** 3 for h in (inside, outside)))
        )
        return against("extreme", float(inside.mean()), float(outside.mean()), len(inside), verdict, spread)


def _distances(values: Floats, ordered: Floats) -> Floats:
    place = np.searchsorted(ordered, values).clip(1, max(len(ordered) - 1, 1))
    below, above = ordered[place - 1], ordered[np.minimum(place, len(ordered) - 1)]
    nearest: Floats = np.minimum(np.abs(values - below), np.abs(above - values))
    return nearest
