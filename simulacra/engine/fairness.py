"""Statistical parity: every group gets the same shares of a target's values, up to rounding."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

__all__ = ["Parity", "group_of"]

_ROUNDS = 60
_NEAR = 1e-7
_RARE = 0.05


def group_of(codes: np.ndarray, sensitive: tuple[int, ...], group: np.ndarray) -> float:
    """Returns the share of rows that are in a group."""
    return float((codes[:, list(sensitive)] == group).all(1).mean())


class Parity:
    """Draws a target anew, given all else of the rows, with the same shares in every group.

    The shares are those of all rows on a pilot sample. Within a group the rows compete by their own
    probabilities, shifted alike; how many rows of a block get a value follows from how many the group had
    in all blocks before, so that rounding does not add up. A group that the pilot has not seen is rounded in
    each block on its own. The target's rows are therefore not independent of each other; the other columns
    are as they would be without it.
    """

    def __init__(self, sensitive: tuple[int, ...], groups: np.ndarray) -> None:
        self.sensitive = sensitive
        self._groups = groups
        self._shares: list[float] = []
        self._means: list[Tensor] = []
        self._wished: np.ndarray | None = None

    def add(self, logits: Tensor, share: float) -> None:
        """Adds the next group's pilot rows, by the target's logits, and the group's share of all rows."""
        self._means.append(torch.softmax(logits.double(), 1).mean(0))
        self._shares.append(share)

    def solve(self) -> None:
        """Finds the shares that every group is to have."""
        weights = torch.tensor(self._shares, dtype=torch.float64)
        self._wished = ((weights[:, None] * torch.stack(self._means)).sum(0) / weights.sum()).numpy()

    def nobody(self) -> np.ndarray:
        """Returns the counts of groups before the first block."""
        return np.zeros(len(self._groups), np.int64)

    def count(self, codes: np.ndarray) -> np.ndarray:
        """Returns how many of some rows are in each group."""
        return np.array([rows.sum() for rows in self._members(codes)])

    def _members(self, codes: np.ndarray) -> list[np.ndarray]:
        columns = codes[:, list(self.sensitive)]
        return [(columns == group).all(1) for group in self._groups]

    def draw(
        self, logits: Tensor, codes: np.ndarray, before: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Returns the target's codes of some rows.

        Args:
            logits: Of the target given all else, `(rows, codes)`.
            codes: The rows.
            before: Rows of each group in the blocks before this one.
            rng: Random numbers of the block.
        """
        assert self._wished is not None
        result = np.full(len(codes), -1, np.int64)
        known = self._members(codes)
        for number, inside in enumerate([*known, *self._others(codes, known)]):
            rows = rng.permutation(np.flatnonzero(inside))
            if not len(rows):
                continue
            if number < len(known):
                offsets = _offsets(self._wished, np.random.default_rng(self._groups[number]))
                so_far = int(before[number])
            else:
                offsets, so_far = _offsets(self._wished, rng), 0
            counts = _seats(self._wished, offsets, so_far + len(rows)) - _seats(self._wished, offsets, so_far)
            result[rows] = _assigned(_shifted(logits[rows].double(), counts), counts, rng)
        return result

    def _others(self, codes: np.ndarray, known: list[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields the members of each group that the pilot has not seen."""
        rest = ~np.any([np.zeros(len(codes), bool), *known], axis=0)
        columns = codes[:, list(self.sensitive)]
        for group in np.unique(columns[rest], axis=0):
            yield (columns == group).all(1)


def _offsets(wished: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the offsets of `_seats`: to the nearest, but rare codes at random, so that none is lost."""
    return np.where(wished < _RARE, rng.random(len(wished)), 0.5)


def _seats(wished: np.ndarray, offsets: np.ndarray, rows: int) -> np.ndarray:
    """Returns how many of a group's first rows get each code, in proportion, rounded to whole rows.

    A divisor method with an offset in (0, 1) of its own for each code (0.5 for all would be Webster's): the
    k-th row of a code comes at (k - 1 + offset) / share, and the first ones are taken. So a count never falls
    as rows are added, the counts add up to the rows, and over groups of random offsets each code gets its
    share however small it is.
    """
    shares = np.maximum(wished, 1e-300)
    counts: np.ndarray = np.floor(shares * rows + 1 - offsets).astype(np.int64)
    while counts.sum() < rows:
        counts[((counts + offsets) / shares).argmin()] += 1
    while counts.sum() > rows:
        last = np.where(counts > 0, (counts - 1 + offsets) / shares, -np.inf)
        counts[last.argmax()] -= 1
    return counts


def _shifted(logits: Tensor, counts: np.ndarray) -> np.ndarray:
    """Returns the rows' probabilities, shifted alike until they add up to the counts."""
    wished = torch.from_numpy(counts / counts.sum())
    shift = torch.zeros(logits.shape[1], dtype=torch.float64)
    for _ in range(_ROUNDS):
        means = torch.softmax(logits + shift, 1).mean(0)
        if (means - wished).abs().max() < _NEAR:
            break
        shift += ((wished + 1e-12) / (means + 1e-12)).log()
    chances: np.ndarray = torch.softmax(logits + shift, 1).numpy()
    return chances


def _assigned(chances: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gives each code to as many rows as it has, by systematic sampling with the rows' own chances."""
    *rarer, commonest = np.argsort(counts, kind="stable")
    result = np.full(len(chances), commonest, np.int64)
    free = np.arange(len(chances))
    for code in rarer:
        if not counts[code]:
            continue
        spread = _filled(chances[free, code] + 1e-12, int(counts[code]))
        passed = np.floor(np.cumsum(spread) + rng.random()).astype(np.int64)
        # A sum that is not quite whole may have passed one row too few, or too many.
        spread[np.diff(passed, prepend=0) > 0] = np.inf
        chosen = np.argsort(-spread, kind="stable")[: counts[code]]
        result[free[chosen]] = code
        free = np.delete(free, chosen)
    return result


def _filled(weight: np.ndarray, count: int) -> np.ndarray:
    """Returns chances of at most 1 in proportion to weights, as far as 1 allows, that add up to a count."""
    full = np.zeros(len(weight), bool)
    while count > full.sum():
        spread = np.where(full, 1.0, weight * ((count - full.sum()) / weight[~full].sum()))
        if (spread <= 1).all():
            return spread
        full = spread >= 1
    return full.astype(float)
