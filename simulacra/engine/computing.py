"""How torch computes while the engine does: on so many threads, and with its fastest products of matrices."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

__all__ = ["computing"]

_products = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]


@contextmanager
def computing(threads: int, *, large: bool = True) -> Iterator[None]:
    """Has torch use so many threads, and oneDNN for large products of matrices where that is exact.

    For single precision torch takes MKL, which leaves half of an AMD processor's vector units idle. Allowed
    to round to bfloat16, it takes oneDNN, which rounds only where the processor has units for matrices (AMX);
    elsewhere it multiplies in single precision, at twice MKL's speed on AMD.

    Args:
        threads: At least one is used.
        large: Whether products are large enough to gain: each new shape costs some tenths of a millisecond.
            Those that are not stay with MKL.
    """
    before = torch.get_num_threads(), _products.fp32_precision
    torch.set_num_threads(max(1, threads))
    if _exact():
        _products.fp32_precision = "bf16" if large else "ieee"
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        _products.fp32_precision = before[1]


@cache
def _exact() -> bool:
    """Says whether products stay exact although rounding is allowed, by trying: 1 + 2^-12 is no bfloat16."""
    before = _products.fp32_precision
    factor = torch.full((64, 64), 1 + 2**-12)
    try:
        _products.fp32_precision = "bf16"
        return bool(torch.equal(factor @ torch.eye(64), factor))
    finally:
        _products.fp32_precision = before
