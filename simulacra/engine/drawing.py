"""Drawing codes from distributions: by inverse CDF, with temperature and top-p, given shares, or evenly."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from simulacra.engine.controls import SampleRequest

__all__ = ["draw", "shares"]

_FEW_CODES = 16  # torch's softmax takes twice as long for 8 codes as for 16
_GOLDEN = (5**0.5 - 1) / 2


def shares(logits: Tensor, wished: Mapping[int, float]) -> Tensor:
    """Returns log-probabilities with given ones for some codes, the others keeping their proportions."""
    weights = torch.softmax(logits, 1)
    codes = torch.tensor(list(wished), dtype=torch.int64)
    weights[:, codes] = 0
    weights *= max(0.0, 1 - sum(wished.values())) / weights.sum(1, keepdim=True).clamp(min=1e-12)
    weights[:, codes] = torch.tensor(list(wished.values()), dtype=weights.dtype)
    return weights.log()


def _evenly(weights: Tensor, uniform: Tensor) -> Tensor:
    """Returns numbers of [0, 1) that are spread evenly over any run of rows with like distributions.

    Rows are sorted by their expected code; multiples of the golden ratio are spread evenly over any run of
    them, and one random shift, the first row's number, makes each row's number uniform.
    """
    order = (weights @ torch.arange(weights.shape[1], dtype=weights.dtype)).argsort(stable=True)
    steps = torch.arange(len(order), dtype=torch.float64) * _GOLDEN
    spread = torch.empty_like(uniform)
    spread[order] = ((steps + uniform[0].double()) % 1).to(uniform.dtype).clamp(max=1 - 2**-24)
    return spread


def draw(logits: Tensor, uniform: Tensor, request: SampleRequest, of: Tensor | None = None) -> Tensor:
    """Draws a code per row by inverting the cumulative distribution.

    Args:
        logits: `(rows, codes)`, or of fewer distributions that rows share.
        uniform: A number of [0, 1) for each row.
        request: Says how freely to draw.
        of: Which distribution each row has; without it, each its own.
    """
    temperature, top_p = request.temperature, request.top_p
    if temperature == 0:
        likeliest = logits.argmax(1)
        return likeliest if of is None else likeliest[of]
    if temperature != 1:  # the highest is 0, so that a tiny temperature makes no infinity of it
        logits = (logits - logits.max(1, keepdim=True).values) / temperature
    size = logits.shape[1]
    if size < _FEW_CODES:
        logits = functional.pad(logits, (0, _FEW_CODES - size), value=-torch.inf)
    weights = torch.softmax(logits, 1)
    if top_p < 1:
        ordered, index = weights.sort(1, descending=True)
        beyond = ordered.cumsum(1) - ordered >= top_p
        weights = weights.scatter(1, index, ordered.masked_fill(beyond, 0.0))
    if request.systematic:
        uniform = _evenly(weights if of is None else weights[of], uniform)
    cumulative = weights.cumsum(1)
    if of is not None:
        cumulative = cumulative.index_select(0, of)
    thresholds = uniform[:, None] * cumulative[:, -1:]  # numbers are at most 1 - 2^-24: less than the sum
    return torch.searchsorted(cumulative, thresholds, right=True)[:, 0].clamp_(max=size - 1)
