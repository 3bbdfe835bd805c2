"""Samples are of the asked size, uniform, and the same however the rows arrive."""

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from simulacra_connector.sampling import select_rows


def batches(total: int, size: int) -> list[pa.RecordBatch]:
    numbers = pa.array(range(total))
    return [pa.record_batch({"n": numbers.slice(start, size)}) for start in range(0, total, size)]


def selected(total: int, size: int, wanted: int | None, seed: int | None) -> list[int]:
    kept = select_rows(iter(batches(total, size)), total=total, wanted=wanted, seed=seed)
    return [number for batch in kept for number in batch.column("n").to_pylist()]


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 300), st.integers(1, 50), st.integers(0, 400), st.integers(-5, 5))
def test_size_order_and_independence_of_batches(total: int, size: int, wanted: int, seed: int) -> None:
    kept = selected(total, size, wanted, seed)
    assert len(kept) == min(total, wanted)
    assert kept == sorted(set(kept))
    assert kept == selected(total, 7, wanted, seed)


def test_without_seed_the_first_rows() -> None:
    assert selected(100, 7, 10, None) == list(range(10))
    assert selected(5, 7, None, None) == list(range(5))


def test_each_row_is_equally_likely() -> None:
    counts = [0] * 10
    for seed in range(2000):
        for number in selected(10, 3, 4, seed):
            counts[number] += 1
    # Each is kept with probability 0.4: 800 times, with a standard deviation of 22.
    assert all(abs(count - 800) < 5 * 22 for count in counts)


def test_blocks_do_not_show() -> None:
    kept = selected(200_000, 50_000, 20_000, 1)
    assert len(kept) == 20_000
    halves = sum(number < 100_000 for number in kept)
    assert abs(halves - 10_000) < 5 * 67
