"""Adam without `torch.optim.Optimizer`, whose first use imports a compiler: most of a second for nothing."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam

__all__ = ["Adam"]

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class Adam:
    """Adam (Kingma & Ba, 2015, arXiv 1412.6980) with torch's defaults, all parameters in one fused call."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = list(parameters)
        self._state: dict[str, list[Tensor]] = {
            "step": [torch.zeros((), device=p.device) for p in self._parameters],
            "exp_avg": [torch.zeros_like(p) for p in self._parameters],
            "exp_avg_sq": [torch.zeros_like(p) for p in self._parameters],
        }

    def forget_gradients(self) -> None:
        """Drops all gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Moves the parameters along their gradients, which must be there, at a learning rate."""
        gradients = [parameter.grad for parameter in self._parameters]
        steps, averages, squares = (self._state[name] for name in _MOMENTS)
        adam(
            self._parameters,
            [gradient for gradient in gradients if gradient is not None],
            averages,
            squares,
            [],
            steps,
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yields what it remembers, by name: `exp_avg.3` is the third parameter's."""
        for name, values in self._state.items():
            for number, value in enumerate(values):
                yield f"{name}.{number}", value

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes what another of the same parameters remembered; raises KeyError or RuntimeError if not."""
        for name, value in self.tensors():
            value.copy_(tensors[name])
