"""A small mixed table and a model of it, trained once."""

import numpy as np
import pyarrow as pa
import pytest

from simulacra.engine import Bundle, TrainingConfig, TrainingTask, analyze, train


def make_table(rows: int = 600, seed: int = 0) -> pa.Table:
    """Makes a table whose columns depend on each other."""
    rng = np.random.default_rng(seed)
    color = rng.choice(["red", "green", "blue"], rows, p=[0.6, 0.3, 0.1])
    amount = np.where(color == "red", 0, rng.lognormal(5, 1, rows).round())
    day = np.datetime64("2020-01-01") + rng.integers(0, 700, rows)
    return pa.table(
        {
            "color": pa.array(color, mask=rng.random(rows) < 0.1),
            "amount": pa.array(amount.astype(np.int64)),
            "flag": pa.array(amount > 100),
            "score": pa.array(rng.normal(size=rows)),
            "day": pa.array(day.astype("datetime64[D]")),
        }
    )


@pytest.fixture(scope="session")
def table() -> pa.Table:
    return make_table()


@pytest.fixture(scope="session")
def bundle(table: pa.Table) -> Bundle:
    codec = analyze(table)
    config = TrainingConfig(max_epochs=20, threads=1)
    last = list(train(TrainingTask(codec, codec.encode(table), config)))[-1]
    assert last.bundle is not None
    return last.bundle
