"""What sub-columns have in common, and how surely."""

import numpy as np
import pytest

from simulacra.engine.association import Association


def _codes(rows: int, seed: int = 0) -> np.ndarray:
    """A column of 30 codes, a noisy copy, one of 3 codes that depends weakly, one of chance, a constant."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 30, rows)
    copy = np.where(rng.random(rows) < 0.9, first, rng.integers(0, 30, rows))
    weak = np.where(rng.random(rows) < 0.2, first // 10, rng.integers(0, 3, rows))
    return np.stack([first, copy, weak, rng.integers(0, 12, rows), np.zeros(rows, np.int64)], 1)


def test_noise_is_small_where_a_dependence_is_sure_and_large_where_there_is_none() -> None:
    noise = Association.of(_codes(2000), 0).noise
    assert noise[0, 1] < 0.02
    assert noise[0, 1] < noise[0, 2] < 0.5
    assert noise[0, 3] > 2
    assert np.isfinite(noise).all()
    assert np.allclose(noise, noise.T)


def test_twice_the_rows_halve_the_noise() -> None:
    codes = _codes(4000)
    half, whole = (Association.of(rows, 0).noise[0, 1] for rows in (codes[:2000], codes))
    assert whole == pytest.approx(half / 2, rel=0.1)


def test_of_more_rows_than_are_looked_at_all_count() -> None:
    looked_at, whole = (Association.of(_codes(rows), 0).noise for rows in (10_000, 80_000))
    assert whole[0, 1] == pytest.approx(looked_at[0, 1] / 8, rel=0.1)
    # What is chance among those that are looked at is not taken for dependence among all.
    assert whole[0, 3] > looked_at[0, 3] / 20


def test_few_codes_are_classes_of_their_own() -> None:
    rng = np.random.default_rng(1)
    rare = rng.choice(5, 5000, p=[0.9, 0.025, 0.025, 0.025, 0.025])
    association = Association.of(np.stack([rare, rare, rng.integers(0, 2, 5000)], 1), 0)
    assert association.information[0, 1] == pytest.approx(0.464, abs=0.02)  # its entropy
    assert association.noise[0, 1] < 0.01


def test_the_strongest_sources_are_those_that_say_most_and_a_columns_own_parts() -> None:
    association = Association.of(_codes(2000), 0)
    sources = association.strongest_sources(np.array([0, 1, 2, 3, 4]), 1)
    assert sources[:3] == ((1,), (0,), (0,))
    parts = association.strongest_sources(np.array([0, 1, 2, 3, 3]), 2)
    assert 4 in parts[3]
    assert 3 in parts[4]
    assert all(target not in found for target, found in enumerate(parts))


def test_the_same_seed_looks_at_the_same_rows() -> None:
    codes = _codes(30_000)
    first, again, other = (Association.of(codes, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.noise, again.noise)
    assert not np.array_equal(first.noise, other.noise)
