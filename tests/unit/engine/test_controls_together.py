"""Controls together: shares hold whatever else is asked for, also beside seeds and without time to train."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from simulacra import engine
from simulacra.engine import Bundle, Fairness, Rebalancing, TrainingConfig, TrainingTask


def share(rows: pa.Table, column: str, value: object) -> float:
    return float(rows[column].to_pylist().count(value) / rows.num_rows)


@pytest.mark.parametrize(("temperature", "top_p"), [(0.5, 1.0), (0.0, 1.0), (1.0, 0.5), (2.0, 0.9)])
def test_rebalanced_shares_are_reached_whatever_temperature_and_top_p(
    bundle: Bundle, temperature: float, top_p: float
) -> None:
    wish = Rebalancing("color", {"blue": 0.6, "red": 0.1})
    rows = engine.sample(
        bundle, 4096, rebalancing=wish, temperature=temperature, top_p=top_p, systematic=True
    )
    assert abs(share(rows, "color", "blue") - 0.6) < 0.005
    assert abs(share(rows, "color", "red") - 0.1) < 0.005


def test_a_tiny_temperature_is_nearly_none(bundle: Bundle) -> None:
    coldest = engine.sample(bundle, 50, temperature=0.0)["color"]
    assert engine.sample(bundle, 50, temperature=1e-40)["color"].equals(coldest)


def test_a_rebalanced_target_is_fair_with_the_shares_that_were_asked_for(bundle: Bundle) -> None:
    rows = engine.sample(
        bundle, 6000, fairness=Fairness("flag", ("color",)), rebalancing=Rebalancing("flag", {"True": 0.8})
    )
    for color in ("red", "green", "blue"):
        assert abs(share(rows.filter(pc.equal(rows["color"], color)), "flag", True) - 0.8) < 0.02


def test_fair_rows_have_the_shares_of_their_seeds(bundle: Bundle, table: pa.Table) -> None:
    """Of amounts above 100, which make the flag true, nearly all stay true in every group."""
    seeds = pa.table({"amount": pa.array([200, 300, 400] * 1000, pa.int64())})
    plain = engine.sample(bundle, seeds=seeds)
    fair = engine.sample(bundle, seeds=seeds, fairness=Fairness("flag", ("color",)))
    assert share(plain, "flag", True) > 0.8
    assert abs(share(fair, "flag", True) - share(plain, "flag", True)) < 0.05


def test_a_training_without_time_ends_as_it_began(table: pa.Table) -> None:
    codec = engine.analyze(table)
    config = TrainingConfig(max_training_time_seconds=1e-9, threads=1)
    *_, last = engine.train(TrainingTask(codec, codec.encode(table), config))
    assert last.bundle is not None
    assert last.learning_rate == 0
    assert np.isfinite(engine.log_prob(last.bundle, table)).all()
