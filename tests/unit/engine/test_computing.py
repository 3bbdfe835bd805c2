"""How torch computes meanwhile: on so many threads, exactly, and afterwards as before."""

import pytest
import torch

from simulacra.engine.computing import computing


@pytest.mark.parametrize("large", [False, True])
def test_products_are_of_single_precision(large: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(3, 100, 70, generator=generator) for _ in range(2))
    exact = left.double() @ right.double().transpose(1, 2)
    with computing(2, large=large):
        found = left @ right.transpose(1, 2)
        plain = left[0] @ right[0].t()
    assert (found - exact).abs().max() < 1e-4  # rounded to bfloat16 they are .05 off
    assert (plain - exact[0]).abs().max() < 1e-4


def test_threads_and_precision_are_put_back() -> None:
    products = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = torch.get_num_threads(), products.fp32_precision

    def fail() -> None:
        with computing(before[0] + 1):
            assert torch.get_num_threads() == before[0] + 1
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (torch.get_num_threads(), products.fp32_precision) == before


def test_at_least_one_thread_is_used() -> None:
    with computing(0):
        assert torch.get_num_threads() == 1
