"""Weight decay: keeps the network from learning rows by heart where it would, and no more than needed.

Decoupled from the gradient (AdamW: Loshchilov & Hutter, 2019, arXiv 1711.05101). A target of many codes has
as many more weights to learn the same rows by heart with, so its own weights decay faster. How fast all of
them do follows, while training, from how well the likelihood tells rows that were learnt from others.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from simulacra.engine.network import Network

__all__ = ["Decay", "first_strength"]

_OWN = ("input", "middle", "shared_out", "heads.")
_MOST_FACTOR = 3.0
_LEAST, _MOST = 0.3, 14.0
_GAP, _GAP_OF_FEW = 0.035, 2.6
_CONTROL = 4.0


def first_strength(rows: int, cardinalities: Sequence[int]) -> float:
    """Returns the strength to begin with: more for more codes on fewer rows, fitted on eight tables.

    Tables of less than some thousand rows keep about this strength, since too few rows validate to say
    better. In larger ones it only has to be near: started too high, too little is learnt before it falls.
    """
    codes, rows = float(sum(cardinalities)), max(rows, 1)
    enough = min(4.0, 0.04 * codes**2 / rows)
    few = min(_MOST, 10.5 * (codes / rows) ** 1.38)
    return float(max(_LEAST, enough, few))


class Decay:
    """The decay of a network's weights; biases have none.

    Args:
        network: Its weights are changed in place.
        first: The strength to begin with; it never falls below a third of that.
        rows: The training rows.
    """

    def __init__(self, network: Network, first: float, rows: int) -> None:
        self._least = max(_LEAST, first / 3)
        # An attack on few rows is as blunt as this is wide: its interval shrinks with the root of the rows.
        self._allowed = _GAP + _GAP_OF_FEW / math.sqrt(max(rows, 1))
        device = network.embeddings.device
        sizes = torch.tensor(network.config.cardinalities, dtype=torch.float32, device=device)[network.order]
        by_target = (sizes / sizes.mean()).clamp(max=_MOST_FACTOR)
        by_group = torch.split(by_target, [len(group) for group in network.groups])
        self._weights: list[Tensor] = []
        self._factors: list[Tensor] = []
        for name, weight in network.named_parameters():
            if "bias" in name or not weight.numel():
                continue
            # The smooth parts, which all codes of a target share, have the strength of no target.
            factor = by_target if name.startswith(_OWN) else torch.ones(1, device=device)
            if name.startswith("heads."):
                factor = by_group[int(name.removeprefix("heads."))]
            self._weights.append(weight.detach())
            self._factors.append(factor.view(-1, *[1] * (weight.dim() - 1)))

    def apply(self, amount: float) -> None:
        """Shrinks each weight by `amount`, the product of learning rate and strength, times its factor."""
        torch._foreach_addcmul_(self._weights, self._weights, self._factors, -amount)

    def adapted(self, strength: float, seen: Tensor, held: Tensor, share: float) -> float:
        """Returns the strength to go on with; a gap within its own standard error of what is allowed is left.

        Args:
            strength: The one until now.
            seen: What has been learnt about each of some training rows: its loss now less that at the start.
            held: The same of validation rows.
            share: How much of the whole training has passed since it was adapted before.
        """
        spread = torch.cat([held, seen]).std().clamp(min=1e-6)
        gap = ((held.mean() - seen.mean()) / spread).item()
        error = math.sqrt(1 / len(held) + 1 / len(seen))
        nearest = max(gap - error, min(gap + error, self._allowed))
        factor = np.clip(math.exp(_CONTROL * share * (nearest / self._allowed - 1)), 0.75, 1.6)
        return float(np.clip(strength * factor, self._least, _MOST))
