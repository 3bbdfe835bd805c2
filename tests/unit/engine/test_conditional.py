"""Conditional generation in a notebook: shares, gaps, parity, probabilities, and what is refused."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from simulacra import engine
from simulacra.engine import Bundle, Fairness, Rebalancing, SampleRequest, TrainingConfig, TrainingTask
from simulacra.engine.fairness import Parity
from simulacra.errors import InvalidArgument

ROWS = 300


@pytest.fixture(scope="module")
def shop() -> pa.Table:
    """Text with a value "null" beside nulls, digits with nulls, a column that is never there."""
    rng = np.random.default_rng(4)
    kind = rng.choice(["tea", "null", "milk"], ROWS)
    return pa.table(
        {
            "kind": pa.array(kind, mask=rng.random(ROWS) < 0.1),
            "sold": pa.array(np.arange(ROWS) % 100, mask=rng.random(ROWS) < 0.2),
            "code": pa.array([f"{'AB'[n % 2]}{n % 7}" for n in range(ROWS)], mask=rng.random(ROWS) < 0.2),
            "gone": pa.nulls(ROWS, pa.string()),
        }
    )


@pytest.fixture(scope="module")
def model(shop: pa.Table) -> Bundle:
    specs = [engine.ColumnSpec("kind"), engine.ColumnSpec("sold", "TABULAR_NUMERIC_DIGIT")]
    specs += [engine.ColumnSpec("code", "TABULAR_CHARACTER"), engine.ColumnSpec("gone")]
    codec = engine.analyze(shop, specs, options=engine.AnalyzeOptions(value_protection=False))
    *_, last = engine.train(TrainingTask(codec, codec.encode(shop), TrainingConfig(max_epochs=6, threads=1)))
    assert last.bundle is not None
    return last.bundle


def share(rows: pa.Table, column: str, value: object) -> float:
    return float(rows[column].to_pylist().count(value) / rows.num_rows)


def test_rebalanced_shares_are_reached_where_nulls_are_imputed(bundle: Bundle) -> None:
    wish = Rebalancing("color", {"blue": 0.7})
    rows = engine.sample(bundle, 4096, rebalancing=wish, imputation=["color"], systematic=True)
    assert rows["color"].null_count == 0
    assert abs(share(rows, "color", "blue") - 0.7) < 0.005


def test_rebalancing_takes_values_as_python_has_them(bundle: Bundle) -> None:
    for value in (True, "True", "true"):
        rows = engine.sample(bundle, 4096, rebalancing=Rebalancing("flag", {value: 0.9}), systematic=True)  # type: ignore[dict-item]
        assert abs(share(rows, "flag", True) - 0.9) < 0.005
    nulls = Rebalancing("color", {None: 0.4})  # type: ignore[dict-item]
    assert (
        abs(share(engine.sample(bundle, 4096, rebalancing=nulls, systematic=True), "color", None) - 0.4)
        < 0.005
    )


@pytest.mark.parametrize(
    ("column", "probabilities", "said"),
    [
        ("color", {"red": 0.1, "green": 0.1, "blue": 0.1}, 'add up to 0.3, but column "color" has no other'),
        ("flag", {"true": 0.5, "True": 0.1}, "twice"),
        ("flag", {None: 0.5}, "has no values"),
        ("color", {"pink": 0.5}, "'red', 'green', 'blue'"),
        ("color", {}, "at most 1"),
        ("color", {"red": "much"}, "much"),
        ("score", {"1": 0.5}, "TABULAR_CATEGORICAL"),
        ("colour", {"red": 0.5}, '"color", "amount"'),
    ],
)
def test_shares_that_cannot_be_reached_are_refused(
    bundle: Bundle, column: str, probabilities: Any, said: str
) -> None:
    with pytest.raises(InvalidArgument, match=said):
        engine.sample(bundle, 10, rebalancing=Rebalancing(column, probabilities), imputation=["color"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "rows: is missing"),
        ({"rows": -1}, "rows: -1 is not"),
        ({"rows": 2.5}, "rows: 2.5 is not"),
        ({"rows": 1, "seed": 1.5}, "seed: 1.5 is not"),
        ({"rows": 1, "temperature": "hot"}, "sampling_temperature: 'hot'"),
        ({"rows": 1, "top_p": float("nan")}, "sampling_top_p: nan"),
        ({"rows": 1, "imputation": "colour"}, 'column "colour" is not in the model; it has "color"'),
        ({"seeds": 7}, "seeds: is a int; give a pyarrow.Table, a pandas frame"),
        ({"seeds": [{"color": "pink"}]}, "'pink'.*'red', 'green', 'blue'; take one of those, or leave"),
        ({"seeds": [{"amount": -5}]}, r"-5.*it knows 0 to \d+"),
        ({"seeds": [{"amount": "much"}]}, 'column "amount" cannot be read as int64'),
        ({"seeds": [{"amount": [1]}]}, 'column "amount" cannot be read as int64'),
        ({"seeds": pa.table([["red"], ["blue"]], ["color", "color"])}, 'two columns "color"'),
        ({"rows": 3, "seeds": [{"color": "red"}]}, "1 seed rows for 3 rows"),
    ],
)
def test_what_cannot_be_sampled_is_named(bundle: Bundle, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        engine.sample(bundle, **arguments)


def test_a_text_that_does_not_suit_its_encoding_is_named_with_its_column() -> None:
    days = pa.table({"day": [f"2020-01-{1 + n % 28:02d}" for n in range(60)]})
    model = engine.fit(days, max_minutes=0.01, threads=1)
    assert engine.sample(model, seeds=days.slice(0, 3)).equals(days.slice(0, 3))
    with pytest.raises(InvalidArgument, match=r'"day" cannot be read as TABULAR_DATETIME.*soon'):
        engine.sample(model, seeds=pa.table({"day": ["soon"]}))


def test_frames_and_dicts_are_rows_too(bundle: Bundle, table: pa.Table) -> None:
    frame = table.slice(0, 200).to_pandas(date_as_object=False)[lambda rows: rows["flag"]]
    arrow = pa.Table.from_pandas(frame, preserve_index=False)
    assert np.array_equal(engine.log_prob(bundle, frame), engine.log_prob(bundle, arrow))
    assert engine.impute(bundle, frame).equals(engine.impute(bundle, arrow))
    seeds = [{"color": "red"}, {"amount": 0}, {}]
    rows = engine.sample(bundle, seeds=seeds)
    assert rows.equals(
        engine.sample(bundle, seeds=pd.DataFrame({"color": ["red", None, None], "amount": [None, 0, None]}))
    )
    assert (rows["color"][0].as_py(), rows["amount"][1].as_py()) == ("red", 0)
    assert engine.predict_proba(bundle, seeds, "flag").num_rows == 3
    model = engine.fit(frame, max_minutes=0.01, threads=1)
    assert engine.sample(model, 3).column_names == table.column_names
    with pytest.raises(InvalidArgument, match="table: makes no Arrow table"):
        engine.fit(pd.DataFrame({"x": [1, "one", None]}))


def test_fit_refuses_what_it_would_not_obey(table: pa.Table) -> None:
    with pytest.raises(InvalidArgument, match='encodings: the table has no column "colour"'):
        engine.fit(table, encodings={"colour": "AUTO"})
    with pytest.raises(InvalidArgument, match="max_minutes: 0"):
        engine.fit(table, max_minutes=0)


def test_probabilities_of_all_values_add_up_to_one_in_columns_of_several_parts(model: Bundle) -> None:
    """Codes that no value has, such as the digits of null, have no probability."""
    numbers = pa.table({"sold": pa.array([None, *range(100)], pa.int64())})
    assert model.codec.codecs[1].cardinalities == (2, 11, 11)
    assert abs(np.exp(engine.log_prob(model, numbers)).sum() - 1) < 1e-6
    texts = pa.table({"code": pa.array([None, *(f"{a}{b}" for a in "AB" for b in range(7))])})
    assert abs(np.exp(engine.log_prob(model, texts)).sum() - 1) < 1e-6


def test_what_was_never_seen_is_least_likely(bundle: Bundle) -> None:
    colors = pa.table({"color": ["red", "green", "blue", None, "pink"]})
    *known, unseen = engine.log_prob(bundle, colors)
    assert unseen == min(known)
    flags = engine.log_prob(bundle, pa.table({"flag": pa.array([True, False, None])}))
    assert flags[2] == flags[:2].min()


def test_a_category_that_is_not_known_says_nothing_about_the_others(bundle: Bundle) -> None:
    chances = engine.predict_proba(bundle, [{"color": "pink"}, {"color": None}, {"color": "red"}], "flag")
    assert chances["True"][0] == chances["True"][1] != chances["True"][2]
    rows = engine.impute(bundle, [{"color": "pink"}])
    assert rows["color"].to_pylist() == ["pink"]


def test_each_value_has_a_column_of_its_own_whatever_it_is_called(model: Bundle, shop: pa.Table) -> None:
    chances = engine.predict_proba(model, shop, "kind")
    assert chances.column_names[0] == "(null)"
    assert sorted(chances.column_names[1:]) == ["milk", "null", "tea"]
    assert np.allclose(sum(column.to_numpy() for column in chances.columns), 1, atol=1e-6)


def test_gaps_of_which_nothing_is_known_stay_and_are_refused_by_name(model: Bundle, shop: pa.Table) -> None:
    filled = engine.impute(model, shop)
    assert {name: filled[name].null_count for name in ("kind", "sold", "code", "gone")} == {
        "kind": 0,
        "sold": 0,
        "code": 0,
        "gone": ROWS,
    }
    with pytest.raises(InvalidArgument, match='column "gone" the model knows nothing but nulls; leave'):
        engine.sample(model, 5, imputation=("gone",))


def test_parity_holds_for_targets_of_many_values_in_small_and_in_unseen_groups() -> None:
    """Rows that are nearly sure of their value, two values that are equally frequent, four blocks."""
    rng = np.random.default_rng(0)
    sizes = [900, 300, 60]  # of the last group the pilot knows nothing
    parity = Parity((0,), np.array([[0], [1]]))
    for number in (0, 1):
        parity.add(torch.from_numpy(rng.normal(0, 9, (500, 6))), sizes[number])
    parity.solve()
    before, counts = parity.nobody(), np.zeros((3, 6))
    for _ in range(4):
        groups = rng.permutation(np.repeat([0, 1, 2], sizes))
        codes = np.stack([groups, np.zeros_like(groups)], 1)
        drawn = parity.draw(torch.from_numpy(rng.normal(0, 9, (len(codes), 6))), codes, before, rng)
        before = before + parity.count(codes)
        np.add.at(counts, (groups, drawn), 1)
    shares = counts / counts.sum(1, keepdims=True)
    assert counts.sum(1).tolist() == [4 * size for size in sizes]
    assert np.abs(shares[0] - shares[1]).max() <= 2 / counts[1].sum() + 2 / counts[0].sum()
    assert np.abs(shares[0] - shares[2]).max() <= 4 * 2 / counts[2].sum()


def test_fairness_holds_between_groups_of_several_columns(bundle: Bundle) -> None:
    request = SampleRequest(6000, seed=1, fairness=Fairness("color", ("flag",)))
    rows = pa.Table.from_batches(engine.Sampler(bundle).sample(request))
    groups = [rows.filter(pc.equal(rows["flag"], flag)) for flag in (True, False)]
    for color in ("red", "green", "blue", None):
        first, second = (share(group, "color", color) for group in groups)
        assert abs(first - second) <= 2 / min(group.num_rows for group in groups) + 1e-9
