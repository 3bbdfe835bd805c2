"""Weight decay: keeps the network from learning rows by heart where it would, and no more than needed.

Decoupled from the gradient (AdamW: Loshchilov & Hutter, 2019, arXiv 1711.05101). A target of many codes has
as many more weights to learn the same rows by heart with, so its own weights decay faster. So do embeddings,
which tell every target that a row has a rare code, and the weights with which a target reads what says little
about it: all that they could learn is chance. How fast all do follows, while training, from how well the
likelihood tells rows that were learnt from others.
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
_EMBEDDINGS = 4.0
_LEAST, _MOST = 0.3, 18.0
_LEAST_BY_SOURCE = 0.05
_MOST_AMOUNT = 1e30  # a float can hold the product of that with any factor
_USUAL_NOISE = 0.17
_GAP, _GAP_OF_FEW = 0.035, 2.6
_FEW_ROWS = 2000
_ROWS_PER_COEFFICIENT = 10
_CONTROL = 4.0


def first_strength(rows: int, cardinalities: Sequence[int], noise: np.ndarray) -> float:
    """Returns the strength to begin with: more for more codes on fewer rows, fitted on some twenty tables.

    Where too few rows validate to say better, which is so in tables of less than about two thousand rows, it
    stays at least that. In larger ones it only has to be near: started too high, too little is learnt before
    it falls, most of all where dependences are sure.

    Args:
        rows: To train on.
        cardinalities: Codes of each target.
        noise: Of each pair of targets; see `Association`.
    """
    codes, rows = float(sum(cardinalities)), max(rows, 1)
    sure = min(1.0, (_mean(noise) / _USUAL_NOISE) ** 0.35)
    enough = min(4.0, 0.04 * codes**2 / rows)
    few = 20.0 * codes / rows - 0.7 if rows < _FEW_ROWS else 13.0 * codes / rows * sure
    return float(max(_LEAST, enough, min(_MOST, few)))


class Decay:
    """The decay of a network's weights; biases have none.

    Args:
        network: Its weights are changed in place.
        first: The strength to begin with; it never falls below a third of that.
        rows: Those of the whole table, validation rows too.
        noise: Of each pair of targets, what chance adds to what they have in common; see `Association`.
    """

    def __init__(self, network: Network, first: float, rows: int, noise: np.ndarray) -> None:
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
            elif name == "embeddings":
                factor = torch.full((1,), _EMBEDDINGS, device=device)
            factor = factor.view(-1, *[1] * (weight.dim() - 1))
            if name == "input":
                factor = factor * _by_source(network, noise).to(device)
            self._weights.append(weight.detach())
            self._factors.append(factor)
        self._fastest = max((float(factor.max()) for factor in self._factors), default=1.0)

    def apply(self, amount: float) -> None:
        """Shrinks each weight by `amount`, the product of learning rate and strength, times its factor.

        No weight is shrunk beyond zero, however high the rate or the strength.
        """
        factors, amount = self._factors, min(amount, _MOST_AMOUNT)
        if amount * self._fastest > 1:
            factors = [factor.clamp(max=1 / amount) for factor in factors]
        torch._foreach_addcmul_(self._weights, self._weights, factors, -amount)

    def adapted(
        self, strength: float, losses: Sequence[Tensor], surprisals: Sequence[Tensor], share: float
    ) -> float:
        """Returns the strength to go on with; a gap within its own standard error of what is allowed is left.

        Args:
            strength: The one until now.
            losses: Of training rows and of validation rows, each `(rows,)`.
            surprisals: Of the same rows, what each of their codes costs before anything is learnt,
                `(rows, targets)`.
            share: How much of the whole training has passed since it was adapted before.
        """
        gap, error = _gap(losses, surprisals)
        if not math.isfinite(gap):
            return strength
        nearest = max(gap - error, min(gap + error, self._allowed))
        factor = np.clip(math.exp(_CONTROL * share * (nearest / self._allowed - 1)), 0.75, 1.6)
        return float(np.clip(strength * factor, self._least, _MOST))


def _by_source(network: Network, noise: np.ndarray) -> Tensor:
    """Returns how fast what each target reads decays, `(targets, read, 1)`; the targets follow `order`.

    A pair with the mean noise decays as fast as the rest of the network, and a surer one slower; faster than
    the rest only what has more of chance than of dependence.
    """
    most = np.maximum(noise, 1.0)
    factors = torch.from_numpy(np.clip(noise / _mean(noise), _LEAST_BY_SOURCE, most)).float()
    config = network.config
    if config.sources:
        read = torch.tensor(config.sources).repeat_interleave(config.embedding, 1)
    else:
        widths = [end - start for start, end in config.spans()]
        starts = np.argsort([start for start, _ in config.spans()])
        read = torch.from_numpy(np.repeat(starts, np.array(widths)[starts])).expand(len(noise), -1)
    return factors.gather(1, read)[network.order.cpu(), :, None]


def _mean(noise: np.ndarray) -> float:
    """Returns the geometric mean of all pairs, 1 where there are none."""
    pairs = noise[~np.eye(len(noise), dtype=bool)]
    return math.exp(np.log(pairs).mean()) if len(pairs) else 1.0


def _gap(losses: Sequence[Tensor], surprisals: Sequence[Tensor]) -> tuple[float, float]:
    """Returns by how much less was learnt about validation rows than training rows, and its standard error.

    Both in standard deviations of what was learnt about a row. Rows differ in how surprising their codes are,
    which says nothing of what was learnt by heart: a regression takes that out (control variates), code by
    code where rows are enough. Where codes all but tell which rows validate, it would take out the gap too.
    """
    loss, known = (torch.cat(list(parts)).double() for parts in (losses, surprisals))
    held = torch.arange(len(loss), device=loss.device) >= len(losses[0])
    total = known.sum(1)
    unlearnt = loss - total
    spread = unlearnt.std().clamp(min=1e-6)
    plain = (unlearnt[held].mean() - unlearnt[~held].mean()) / spread
    plain_error = math.sqrt(1 / len(losses[0]) + 1 / len(losses[1]))
    if len(loss) < _ROWS_PER_COEFFICIENT * known.shape[1]:
        known = total[:, None]
    design = torch.cat([held.double()[:, None], torch.ones_like(total)[:, None], known], 1)
    squares = design.T @ design
    ridge = 1e-6 * squares.diagonal().mean() * torch.eye(len(squares), dtype=loss.dtype, device=loss.device)
    inverse = torch.linalg.inv(squares + ridge)
    coefficients = inverse @ (design.T @ unlearnt)
    error = ((inverse[0, 0] * (unlearnt - design @ coefficients).square().mean()).sqrt() / spread).item()
    if error < plain_error:
        return (coefficients[0] / spread).item(), error
    return plain.item(), plain_error
