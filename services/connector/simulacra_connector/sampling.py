"""Draws a uniform sample from a stream of rows of known length, in one pass and in constant memory."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["SampleMask", "select_rows"]

_BLOCK = 65_536


class SampleMask:
    """Selects `wanted` of `total` rows, each subset equally likely; it depends on the seed, not on batches.

    Fan, Muller and Rezucha's selection sampling (1962), a block at a time: how many of a block are kept is
    hypergeometric, which of them is uniform.
    """

    def __init__(self, total: int, wanted: int, seed: int) -> None:
        self._remaining, self._wanted = total, min(wanted, total)
        self._rng = np.random.Generator(np.random.Philox(seed % 2**64))
        self._pending: npt.NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)

    def take(self, count: int) -> npt.NDArray[np.bool_]:
        """Returns which of the next `count` rows are kept."""  # (count,)
        while len(self._pending) < count:
            self._pending = np.concatenate([self._pending, self._next_block()])
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken

    def _next_block(self) -> npt.NDArray[np.bool_]:
        size = min(_BLOCK, self._remaining)
        mask = np.zeros(size or _BLOCK, dtype=np.bool_)
        if size:
            kept = int(self._rng.hypergeometric(self._wanted, self._remaining - self._wanted, size))
            mask[self._rng.choice(size, kept, replace=False, shuffle=False)] = True
            self._remaining -= size
            self._wanted -= kept
        return mask


def select_rows(
    batches: Iterator[pa.RecordBatch], *, total: int, wanted: int | None, seed: int | None
) -> Iterator[pa.RecordBatch]:
    """Keeps `wanted` rows of a stream of `total` rows: a uniform sample, or the first ones without a seed."""
    if wanted is None or wanted >= total:
        yield from batches
        return
    mask = SampleMask(total, wanted, seed) if seed is not None else None
    missing = wanted
    for batch in batches:
        kept = batch.filter(pa.array(mask.take(batch.num_rows))) if mask else batch.slice(0, missing)
        missing -= kept.num_rows
        if kept.num_rows:
            yield kept
        if missing == 0:
            return
