"""Which sub-columns say most about which others, and how surely: a quick screen of all pairs."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Association"]

_CLASSES = 8
_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Association:
    """How much each pair of sub-columns has in common.

    Attributes:
        information: Mutual information in nats, `(sub-columns, sub-columns)`; of few classes of codes each.
        noise: What chance adds to the statistic of a likelihood-ratio test of independence (the G-test: Sokal
            & Rohlf, 1981), in multiples of what is there beyond chance: near 0 where a dependence is beyond
            doubt, .7 (columns of two codes) to 5 where there may be none, less where more rows train than are
            looked at. The same shape; the diagonal means nothing.
    """

    information: np.ndarray
    noise: np.ndarray

    @classmethod
    def of(cls, codes: np.ndarray, seed: int) -> "Association":
        """Measures it.

        Args:
            codes: `(rows, sub-columns)`.
            seed: Of the rows that are looked at, where there are more than ten thousand.
        """
        rng = np.random.default_rng([seed & (2**63 - 1), 0xA550])
        rows = codes if len(codes) <= _ROWS else codes[np.sort(rng.choice(len(codes), _ROWS, replace=False))]
        targets = rows.shape[1]
        classes = np.stack([_classes(rows[:, target]) for target in range(targets)], 1)
        hot = np.zeros((len(rows), targets * _CLASSES), np.float32)
        np.put_along_axis(hot, classes + np.arange(targets) * _CLASSES, 1.0, axis=1)
        joint = (hot.T @ hot) / len(rows)
        single = np.diagonal(joint)
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = joint * np.log(joint / (single[:, None] * single[None]))
        information = np.nan_to_num(terms).reshape(targets, _CLASSES, targets, _CLASSES).sum((1, 3))
        used = (single.reshape(targets, _CLASSES) > 0).sum(1)
        freedom = np.maximum((used[:, None] - 1) * (used[None] - 1), 1)
        # By chance the statistic is its degrees of freedom, give or take the root of twice as many.
        beyond = np.maximum(2 * len(rows) * information - freedom, np.sqrt(2 * freedom))
        return cls(information, freedom / (beyond * len(codes) / len(rows)))

    def strongest_sources(self, columns: np.ndarray, count: int) -> tuple[tuple[int, ...], ...]:
        """Returns for each sub-column the `count` others with which it has the highest mutual information.

        Parts of the same column come first: one cannot be told without the others.

        Args:
            columns: The column of each sub-column.
            count: Sources for each, less than the number of sub-columns.
        """
        information = self.information.copy()
        information[columns[:, None] == columns[None]] = np.inf
        np.fill_diagonal(information, -np.inf)
        order = np.argsort(-information, axis=1, kind="stable")[:, :count]
        return tuple(tuple(sorted(row)) for row in order.tolist())


def _classes(codes: np.ndarray) -> np.ndarray:
    """Merges neighbouring codes into a few classes of about equal mass, where there are more than that."""
    counts = np.bincount(codes)
    if (counts > 0).sum() <= _CLASSES:
        found: np.ndarray = (np.cumsum(counts > 0) - 1)[codes]
        return found
    middle = (np.cumsum(counts) - counts / 2) / len(codes)
    classes: np.ndarray = np.minimum((middle * _CLASSES).astype(np.int64), _CLASSES - 1)[codes]
    return classes
