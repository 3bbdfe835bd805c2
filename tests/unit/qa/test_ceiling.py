"""The ceiling against simulated samples of known populations."""

import numpy as np
import pytest

from simulacra_qa.metrics.ceiling import Ceiling


def simulated(shares: np.ndarray, n: int, m: int, rng: np.random.Generator) -> float:
    draws = 200 if m > 100 else 4000
    left, right = rng.multinomial(n, shares, draws) / n, rng.multinomial(m, shares, draws) / m
    return float(0.5 * np.abs(left - right).sum(axis=1).mean())


@pytest.mark.parametrize("cells", [2, 10, 100, 1000])
@pytest.mark.parametrize(
    ("original", "reference", "sample"),
    [
        (1000, 900, 900),
        (1000, 1000, 1000),
        (2000, 1000, 1000),
        (10_000, 9000, 1000),
        (5000, 4500, 10_000),
        (1000, 500, 1),
        (1000, 900, 3),
        (3000, 2900, 40),
    ],
)
def test_ceiling_is_what_fresh_samples_reach(cells: int, original: int, reference: int, sample: int) -> None:
    rng = np.random.default_rng(cells)
    shares = rng.dirichlet(np.ones(cells))
    truth = simulated(shares, reference, sample, rng)
    ceiling = Ceiling(original, reference_rows=reference, sample_rows=sample)
    found = [ceiling.expected_tvd(rng.multinomial(original, shares)) for _ in range(30)]
    assert float(np.mean(found)) == pytest.approx(truth, abs=0.004 + 0.03 * truth)


def test_expectation_over_divisions_is_exact() -> None:
    counts = np.array([1, 2, 5, 12, 40])
    rows = int(counts.sum())
    ceiling = Ceiling(rows, reference_rows=rows // 2, sample_rows=rows // 2)
    values = np.repeat(np.arange(len(counts)), counts)
    rng = np.random.default_rng(0)
    divided = []
    for _ in range(4000):
        mixed = rng.permutation(values)
        left, right = (np.bincount(part, minlength=5) / (rows // 2) for part in np.split(mixed, 2))
        divided.append(0.5 * np.abs(left - right).sum())
    assert ceiling.expected_tvd(counts) == pytest.approx(np.mean(divided), abs=0.003)


def test_distributions_without_noise_have_no_distance() -> None:
    assert Ceiling(1000, reference_rows=900, sample_rows=900).expected_tvd(np.array([1000])) == 0


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8])
def test_tiny_data_are_no_fault(rows: int) -> None:
    tvd = Ceiling(rows, reference_rows=rows, sample_rows=rows).expected_tvd(np.ones(rows, np.int64))
    assert 0 <= tvd <= 1
