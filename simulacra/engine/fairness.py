"""Statistical parity: shifts that give a target the same mean distribution in every group."""

import numpy as np
import torch
from torch import Tensor

__all__ = ["Parity", "group_of"]

_ROUNDS = 50


def group_of(codes: np.ndarray, sensitive: tuple[int, ...], group: np.ndarray) -> float:
    """Returns the share of rows that are in a group."""
    return float((codes[:, list(sensitive)] == group).all(1).mean())


class Parity:
    """Per group, what is added to the target's logits so that its mean distribution is that of all rows.

    The shift is found on a pilot sample. Within a block each group's uniforms are stratified, so that a small
    group does not miss the distribution by chance: its rows are not independent of each other in the target
    column.
    """

    def __init__(self, sensitive: tuple[int, ...], groups: np.ndarray, codes: int) -> None:
        self._sensitive = list(sensitive)
        self._groups = torch.from_numpy(np.ascontiguousarray(groups))
        self._shifts = torch.zeros(len(groups), codes)
        self._pilots: list[tuple[Tensor, float]] = []

    def add(self, number: int, logits: Tensor, share: float) -> None:
        """Adds a group's pilot rows, by their logits, and the group's share of all rows."""
        assert number == len(self._pilots)
        self._pilots.append((logits.double(), share))

    def solve(self) -> None:
        """Finds each group's shift by fixed-point iteration on the mean probabilities."""
        total = sum(share for _, share in self._pilots)
        wished = sum(share / total * torch.softmax(logits, 1).mean(0) for logits, share in self._pilots)
        assert isinstance(wished, Tensor)
        for number, (logits, _) in enumerate(self._pilots):
            shift = torch.zeros(logits.shape[1], dtype=torch.float64)
            for _ in range(_ROUNDS):
                mean = torch.softmax(logits + shift, 1).mean(0)
                shift += ((wished + 1e-12) / (mean + 1e-12)).log()
            self._shifts[number] = shift.float()
        self._pilots.clear()

    def adjust(self, logits: Tensor, uniform: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the logits of some rows, shifted by their group, and uniforms stratified within each group.

        A row of a group that the pilot has not seen is left as it is.
        """
        same = (codes[:, None, self._sensitive] == self._groups[None]).all(2)  # (rows, groups)
        logits = logits + same.to(logits.dtype) @ self._shifts
        likelihood = torch.softmax(logits, 1)[:, -1]
        uniform = uniform.clone()
        for number in range(same.shape[1]):
            rows = same[:, number].nonzero()[:, 0]
            if len(rows) > 1:
                rows = rows[likelihood[rows].argsort()]
                strata = _shuffled_strata(uniform[rows])
                uniform[rows] = strata
        return logits, uniform


def _shuffled_strata(uniform: Tensor) -> Tensor:
    """Returns one uniform in each of as many equal strata as there are rows, spread evenly along the rows.

    The strata follow a golden-ratio sequence, so that any run of neighbouring rows covers (0, 1) evenly.
    """
    count = len(uniform)
    turn = (torch.arange(count, dtype=torch.float64) * 0.6180339887498949 + uniform[0].double()) % 1.0
    places = turn.argsort().argsort()
    return ((places + uniform) / count).clamp(max=1 - 1e-7).float()
