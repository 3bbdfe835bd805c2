"""Codes that have an order, told to the network: neighbouring bins start from neighbouring weights.

A table of independent weights per code must learn from the data alone that bin 17 is like bin 18, which
takes many rows. Here a part of each such weight is a smooth function of the code's place among the values, a
sum of a few cosines, which all codes of the column learn together; the free part, which weight decay holds
down, adds what is particular to a code. After training both are folded into one table: sampling knows nothing
of this.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["WAVES", "Smooth", "waves"]

WAVES = 8


def waves(places: np.ndarray) -> np.ndarray:
    """Returns the cosines of codes, `(codes, WAVES)`, of falling amplitude; 0 for a code without a place.

    Args:
        places: Of each code in [0, 1], NaN where it has none.
    """
    number = np.arange(1, WAVES + 1)
    return np.nan_to_num(np.cos(np.pi * np.outer(places, number)) / np.sqrt(number))


class Smooth(nn.Module):
    """The smooth parts of embeddings and heads, as parameters that start at zero.

    Args:
        places: The places of each target's codes; None for a target without an order.
        offsets: First row of each target in the embeddings.
        groups: The targets whose heads are computed together.
        embedding: Width of the embeddings.
        hidden: Width of the heads' input.
    """

    rows: Tensor
    flat: Tensor
    basis: Tensor

    def __init__(
        self,
        places: Sequence[np.ndarray | None],
        offsets: Sequence[int],
        groups: Sequence[Sequence[int]],
        embedding: int,
        hidden: int,
    ) -> None:
        super().__init__()
        ordered = [(target, found) for target, found in enumerate(places) if found is not None]
        widest = max((len(found) for _, found in ordered), default=1)
        basis = np.zeros((len(ordered), widest, WAVES), np.float32)
        rows, flat = [], []
        for number, (target, found) in enumerate(ordered):
            basis[number, : len(found)] = waves(found)
            rows.append(offsets[target] + np.arange(len(found)))
            flat.append(number * widest + np.arange(len(found)))
        empty = np.empty(0, np.int64)
        self.register_buffer("basis", torch.from_numpy(basis), persistent=False)
        self.register_buffer("rows", torch.from_numpy(np.concatenate([empty, *rows])), persistent=False)
        self.register_buffer("flat", torch.from_numpy(np.concatenate([empty, *flat])), persistent=False)
        self.embedding = nn.Parameter(torch.zeros(len(ordered), WAVES, embedding))
        heads = []
        known = dict(ordered)
        for number, group in enumerate(groups):
            size = max((len(known[t]) for t in group if t in known), default=0)
            spread = np.zeros((len(group), WAVES, size), np.float32)
            for place, target in enumerate(group):
                if target in known:
                    spread[place, :, : len(known[target])] = waves(known[target]).T
            self.register_buffer(f"spread{number}", torch.from_numpy(spread), persistent=False)
            heads.append(nn.Parameter(torch.zeros(len(group) if size else 0, hidden, WAVES)))
        self.heads = nn.ParameterList(heads)

    def embeddings(self, free: Tensor) -> Tensor:
        """Returns the embeddings, `(all codes, embedding)`: the free part and the smooth one."""
        if not len(self.rows):
            return free
        smooth = torch.bmm(self.basis, self.embedding).flatten(0, 1)
        return free.index_add(0, self.rows, smooth[self.flat])

    def head(self, number: int, free: Tensor) -> Tensor:
        """Returns the heads of a group, `(group, hidden, codes)`."""
        weights = self.heads[number]
        if not len(weights):
            return free
        smooth = torch.bmm(weights, getattr(self, f"spread{number}"))
        return free + nn.functional.pad(smooth, (0, free.shape[2] - smooth.shape[2]))
