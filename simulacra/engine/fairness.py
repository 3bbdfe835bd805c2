"""Statistical parity: every group gets the same shares of a target's values, up to rounding."""

import numpy as np
import torch
from torch import Tensor

__all__ = ["Parity", "group_of"]

_ROUNDS = 60


def group_of(codes: np.ndarray, sensitive: tuple[int, ...], group: np.ndarray) -> float:
    """Returns the share of rows that are in a group."""
    return float((codes[:, list(sensitive)] == group).all(1).mean())


class Parity:
    """Draws a target anew, given all else of the rows, with the same shares in every group.

    The shares are those of all rows on a pilot sample. Within a group the rows compete by their own
    probabilities, shifted alike; how many rows of a block get a value follows from how many the group had
    in all blocks before, so that rounding does not add up. The target's rows are therefore not independent of
    each other; the other columns are as they would be without it.
    """

    def __init__(self, sensitive: tuple[int, ...], groups: np.ndarray) -> None:
        self.sensitive = sensitive
        self._groups = groups
        self._shares: list[float] = []
        self._means: list[Tensor] = []
        self._wished: Tensor | None = None

    def add(self, logits: Tensor, share: float) -> None:
        """Adds the next group's pilot rows, by the target's logits, and the group's share of all rows."""
        self._means.append(torch.softmax(logits.double(), 1).mean(0))
        self._shares.append(share)

    def solve(self) -> None:
        """Finds the shares that every group is to have."""
        weights = torch.tensor(self._shares, dtype=torch.float64)
        self._wished = (weights[:, None] * torch.stack(self._means)).sum(0) / weights.sum()

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
        """Returns the target's codes of some rows; -1 for rows of a group that the pilot has not seen.

        Args:
            logits: Of the target given all else, `(rows, codes)`.
            codes: The rows.
            before: Rows of each group in the blocks before this one.
            rng: Random numbers of the block.
        """
        assert self._wished is not None
        result = np.full(len(codes), -1, np.int64)
        for number, inside in enumerate(self._members(codes)):
            rows = rng.permutation(np.flatnonzero(inside))
            if len(rows):
                counts = _rounded(self._wished, int(before[number]), len(rows))
                result[rows] = _assigned(_shifted(logits[rows].double(), counts), counts, rng)
        return result


def _rounded(wished: Tensor, before: int, rows: int) -> np.ndarray:
    """Returns how many of the next rows get each code: what the whole is rounded to, less what was before.

    Cumulative shares are rounded, so the counts add up to the rows in every block.
    """
    edges = np.concatenate([[0.0], np.cumsum(wished.numpy())]).clip(0, 1)
    edges[-1] = 1.0
    after, earlier = np.rint(edges * (before + rows)), np.rint(edges * before)
    counts = np.maximum(np.diff(after) - np.diff(earlier), 0).astype(np.int64)
    while counts.sum() > rows:  # where a rounding went down, another went up
        counts[counts.argmax()] -= 1
    counts[counts.argmax()] += rows - counts.sum()
    whole: np.ndarray = counts
    return whole


def _shifted(logits: Tensor, counts: np.ndarray) -> np.ndarray:
    """Returns the rows' probabilities, shifted alike until they add up to the counts."""
    wished = torch.from_numpy(counts / counts.sum())
    shift = torch.zeros(logits.shape[1], dtype=torch.float64)
    for _ in range(_ROUNDS):
        shift += ((wished + 1e-12) / (torch.softmax(logits + shift, 1).mean(0) + 1e-12)).log()
    chances: np.ndarray = torch.softmax(logits + shift, 1).numpy()
    return chances


def _assigned(chances: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gives each code to as many rows as it has, by systematic sampling with the rows' own chances."""
    result = np.full(len(chances), int(counts.argmax()), np.int64)
    free = np.arange(len(chances))
    for code in np.argsort(counts, kind="stable")[:-1]:
        if not counts[code]:
            continue
        weight = chances[free, code] + 1e-12
        spread = np.minimum(weight * (counts[code] / weight.sum()), 1.0)
        passed = np.floor(np.cumsum(spread) + rng.random()).astype(np.int64)
        chosen = np.flatnonzero(np.diff(passed, prepend=0) > 0)[: counts[code]]
        result[free[chosen]] = code
        free = np.delete(free, chosen)
    return result
