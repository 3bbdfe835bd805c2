"""Sampling: same seed, same rows whatever the shards; seeds, controls, and errors that name what is wrong."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from simulacra import engine
from simulacra.engine import BLOCK_ROWS, Bundle, Fairness, Rebalancing, Sampler, SampleRequest, block_count
from simulacra.engine.controls import make_plan
from simulacra.errors import InvalidArgument

ROWS = 2 * BLOCK_ROWS + 100


@pytest.fixture(scope="module")
def sampler(bundle: Bundle) -> Sampler:
    return Sampler(bundle)


def rows_of(sampler: Sampler, request: SampleRequest) -> pa.Table:
    return pa.Table.from_batches(list(sampler.sample(request)), sampler.bundle.codec.schema)


@pytest.fixture(scope="module")
def whole(sampler: Sampler) -> pa.Table:
    return rows_of(sampler, SampleRequest(ROWS, seed=7))


def test_exact_counts_and_schema(whole: pa.Table, table: pa.Table) -> None:
    assert whole.num_rows == ROWS
    assert whole.schema.equals(table.schema)
    assert block_count(ROWS) == 3


def test_any_sharding_gives_the_same_rows(sampler: Sampler, whole: pa.Table) -> None:
    shards = [
        rows_of(sampler, SampleRequest(ROWS, seed=7, first_block=b, last_block=b + 1)) for b in (2, 0, 1)
    ]
    assert pa.concat_tables([shards[1], shards[2], shards[0]]).equals(whole)


def test_any_number_of_threads_gives_the_same_rows(sampler: Sampler, whole: pa.Table) -> None:
    before = torch.get_num_threads()
    for threads in (1, 2, 5):
        batches = sampler.sample(SampleRequest(ROWS, seed=7), threads=threads)
        assert pa.Table.from_batches(list(batches)).equals(whole)
    assert torch.get_num_threads() == before


def test_seed_and_table_name_change_the_rows(sampler: Sampler, whole: pa.Table) -> None:
    assert not rows_of(sampler, SampleRequest(ROWS, seed=8)).equals(whole)
    assert not rows_of(sampler, SampleRequest(ROWS, seed=7, table="other")).equals(whole)
    probe = SampleRequest(5, seed=1)
    assert rows_of(sampler, probe).equals(rows_of(sampler, probe))


def test_marginals_and_dependence_are_learnt(whole: pa.Table, table: pa.Table) -> None:
    def red(rows: pa.Table) -> float:
        return float(pc.mean(pc.equal(rows["color"], "red")).as_py())

    assert abs(red(whole) - red(table)) < 0.06
    colored = whole.filter(pc.equal(whole["color"], "red"))
    assert pc.mean(pc.equal(colored["amount"], 0)).as_py() > 0.9


def test_seeds_are_kept_and_their_gaps_filled(sampler: Sampler) -> None:
    seeds = pa.table(
        {"color": ["red", None, "blue"] * 100, "amount": pa.array([None, 0, None] * 100, pa.int64())}
    )
    rows = rows_of(sampler, SampleRequest(seeds=seeds, seed=1))
    assert rows.num_rows == 300
    assert rows["color"].to_pylist()[::3] == ["red"] * 100
    assert rows["amount"].to_pylist()[1::3] == [0] * 100
    assert rows["amount"].null_count == 0
    assert pc.mean(pc.equal(pa.array(rows["amount"].to_pylist()[::3]), 0)).as_py() > 0.9


@pytest.mark.parametrize(
    ("encoding", "known", "unknown"),
    [
        ("TABULAR_NUMERIC_DIGIT", "150", "9000"),
        ("TABULAR_LAT_LONG", "48.20,16.30", "-33.87,151.21"),
        ("TABULAR_CHARACTER", "A7", "A77"),
        ("TABULAR_CHARACTER", "B7", "X7"),
    ],
)
def test_seeds_of_parts_must_be_of_what_was_learnt(encoding: str, known: str, unknown: str) -> None:
    rng = np.random.default_rng(0)
    texts = {
        "TABULAR_NUMERIC_DIGIT": [str(number) for number in rng.integers(100, 200, 400)],
        "TABULAR_LAT_LONG": [f"{48 + a:.2f},{16 + b:.2f}" for a, b in rng.random((400, 2))],
        "TABULAR_CHARACTER": [f"{'AB'[number % 2]}{number % 10}" for number in range(400)],
    }[encoding]
    model = engine.fit(pa.table({"part": texts}), encodings={"part": encoding}, max_minutes=0.01)
    assert engine.sample(model, seeds=[{"part": known}])["part"].to_pylist() == [known]
    with pytest.raises(InvalidArgument, match=unknown):
        engine.sample(model, seeds=[{"part": known}, {"part": unknown}])


def test_unknown_seed_values_are_named(sampler: Sampler) -> None:
    with pytest.raises(InvalidArgument, match="purple"):
        rows_of(sampler, SampleRequest(seeds=pa.table({"color": ["purple"]})))
    with pytest.raises(InvalidArgument, match="colour"):
        rows_of(sampler, SampleRequest(seeds=pa.table({"colour": ["red"]})))
    with pytest.raises(InvalidArgument, match="2 rows"):
        rows_of(sampler, SampleRequest(2, seeds=pa.table({"color": ["red"]})))


def test_rebalancing_gives_the_wished_shares(sampler: Sampler) -> None:
    request = SampleRequest(5000, rebalancing=Rebalancing("color", {"blue": 0.7}))
    rows = rows_of(sampler, request)
    assert abs(pc.mean(pc.equal(rows["color"], "blue").fill_null(False)).as_py() - 0.7) < 0.03
    for wrong in (
        Rebalancing("color", {"pink": 0.5}),
        Rebalancing("day", {"x": 0.5}),
        Rebalancing("no", {"x": 1}),
    ):
        with pytest.raises(InvalidArgument):
            rows_of(sampler, SampleRequest(10, rebalancing=wrong))
    with pytest.raises(InvalidArgument, match="at most 1"):
        rows_of(sampler, SampleRequest(10, rebalancing=Rebalancing("color", {"red": 0.8, "blue": 0.8})))


def test_imputed_columns_have_no_nulls(sampler: Sampler, whole: pa.Table) -> None:
    assert whole["color"].null_count > 0
    assert rows_of(sampler, SampleRequest(2000, imputation=("color",)))["color"].null_count == 0


@pytest.fixture(scope="module")
def wide(table: pa.Table) -> Sampler:
    """A model whose targets read a few others and an additive state."""
    codec = engine.analyze(table)
    config = engine.TrainingConfig(max_epochs=3, threads=1, sources=2)
    last = list(engine.train(engine.TrainingTask(codec, codec.encode(table), config)))[-1]
    assert last.bundle is not None
    assert last.bundle.config.sources
    return Sampler(last.bundle)


@pytest.mark.parametrize("kind", ["sampler", "wide"])
@pytest.mark.parametrize("how", [{}, {"temperature": 0.7}, {"temperature": 0.0}, {"systematic": True}])
def test_rows_that_begin_alike_are_what_they_would_be_alone(
    request: pytest.FixtureRequest, kind: str, how: dict[str, Any]
) -> None:
    sampler: Sampler = request.getfixturevalue(kind)
    wish = SampleRequest(BLOCK_ROWS, **how)
    plan, nothing = (
        make_plan(sampler.bundle, wish),
        np.full((BLOCK_ROWS, len(sampler.bundle.config.columns)), -1),
    )
    together, alone = (
        sampler.codes(BLOCK_ROWS, np.random.default_rng(3), plan, given, wish) for given in (None, nothing)
    )
    assert (together == alone).all(1).mean() > 0.998  # sums are rounded otherwise


class Highest(np.random.Generator):
    """Draws the highest number below 1, always."""

    def random(self, size: tuple[int, ...], dtype: type) -> np.ndarray:  # type: ignore[override]
        return np.full(size, np.nextafter(dtype(1), dtype(0)), dtype)


def test_the_highest_number_draws_nothing_impossible(sampler: Sampler) -> None:
    request = SampleRequest(BLOCK_ROWS, imputation=("color",), seeds=None, temperature=1.3)
    plan, rng = make_plan(sampler.bundle, request), np.random.default_rng(0)
    known = sampler.codes(BLOCK_ROWS, rng, plan, None, request)  # so that the distributions differ
    for target, size in enumerate(sampler.bundle.config.cardinalities):
        given, allowed = known.copy(), size // 2
        given[:, target] = -1
        plan.forbidden[target] = list(range(allowed, size))
        codes = sampler.codes(BLOCK_ROWS, Highest(np.random.PCG64(0)), plan, given, request)
        assert codes[:, target].max() < max(allowed, 1)


def test_temperature_zero_is_the_likeliest_row(sampler: Sampler) -> None:
    rows = rows_of(sampler, SampleRequest(50, temperature=0.0))
    assert len(rows["color"].unique()) == 1
    cold = rows_of(sampler, SampleRequest(3000, top_p=0.5))
    assert set(cold["color"].unique().to_pylist()) == {"red"}
    with pytest.raises(InvalidArgument, match="temperature"):
        rows_of(sampler, SampleRequest(1, temperature=3))
    with pytest.raises(InvalidArgument, match="top_p"):
        rows_of(sampler, SampleRequest(1, top_p=0))


def test_no_rows_are_no_batches(sampler: Sampler) -> None:
    assert list(sampler.sample(SampleRequest(0))) == []


def test_values_stay_in_their_protected_range(sampler: Sampler, whole: pa.Table) -> None:
    bounds = sampler.bundle.codec.value_ranges()["score"]
    scores = whole["score"].to_numpy()
    assert float(bounds.min or 0) <= np.min(scores) <= np.max(scores) <= float(bounds.max or 0)


def test_fairness_gives_groups_the_same_shares(sampler: Sampler, whole: pa.Table) -> None:
    def spread(rows: pa.Table) -> float:
        shares = [
            pc.mean(pc.equal(rows.filter(pc.equal(rows["color"], color))["flag"], True)).as_py()
            for color in ("red", "green", "blue")
        ]
        return float(max(shares) - min(shares))

    fair = rows_of(sampler, SampleRequest(ROWS, seed=7, fairness=Fairness("flag", ("color",))))
    assert spread(whole) > 0.3
    assert spread(fair) < 0.05
    assert abs(pc.mean(fair["flag"]).as_py() - pc.mean(whole["flag"]).as_py()) < 0.1
    with pytest.raises(InvalidArgument, match="sensitive"):
        rows_of(sampler, SampleRequest(10, fairness=Fairness("flag", ("flag",))))


def test_log_prob_sums_to_one_over_all_values(bundle: Bundle) -> None:
    sums = np.exp(engine.log_prob(bundle, pa.table({"color": ["red", "green", "blue", None]}))).sum()
    assert abs(sums - 1) < 1e-3


def test_log_prob_prefers_likely_rows(bundle: Bundle, table: pa.Table) -> None:
    shuffled = table.set_column(1, "amount", pa.chunked_array([table["amount"].combine_chunks()[::-1]]))
    assert engine.log_prob(bundle, table).mean() > engine.log_prob(bundle, shuffled).mean()
    assert len(engine.log_prob(bundle, table)) == 600


def test_probabilities_of_a_column_add_up(bundle: Bundle) -> None:
    rows = pa.table({"amount": pa.array([0, 500, None], pa.int64())})
    probabilities = engine.predict_proba(bundle, rows, "color")
    assert probabilities.column_names == ["null", "red", "green", "blue"]
    assert np.allclose(sum(column.to_numpy() for column in probabilities.columns), 1)
    assert probabilities["red"][0].as_py() > probabilities["red"][1].as_py()
    with pytest.raises(InvalidArgument, match="not categorical"):
        engine.predict_proba(bundle, rows, "score")


def test_impute_fills_gaps_and_keeps_the_rest(bundle: Bundle, table: pa.Table) -> None:
    filled = engine.impute(bundle, table)
    assert filled["color"].null_count == 0
    present = pc.is_valid(table["color"])
    assert filled["color"].filter(present).equals(table["color"].filter(present))
    assert filled["amount"].equals(table["amount"])


def test_fairness_holds_in_small_groups_whatever_the_shards_and_leaves_the_others_alone(
    sampler: Sampler,
) -> None:
    wish = Fairness("flag", ("color",))
    count = 3 * BLOCK_ROWS + 100
    plain = rows_of(sampler, SampleRequest(count, seed=7))
    whole = rows_of(sampler, SampleRequest(count, seed=7, fairness=wish))
    assert whole.drop(["flag"]).equals(plain.drop(["flag"]))
    parts = [
        rows_of(sampler, SampleRequest(count, seed=7, fairness=wish, first_block=first, last_block=last))
        for first, last in ((0, 1), (1, 3), (3, 4))
    ]
    assert pa.concat_tables(parts).equals(whole)
    groups = whole.group_by("color").aggregate([("flag", "mean"), ("flag", "count")])
    shares = groups["flag_mean"].to_numpy()
    assert shares.max() - shares.min() <= 2 / min(groups["flag_count"].to_pylist()) + 1e-9


def test_shares_that_add_up_to_a_hair_more_than_one_are_kept(table: pa.Table, bundle: Bundle) -> None:
    wished = {"red": 0.33, "green": 0.56, "blue": 0.11}
    assert sum(wished.values()) > 1
    rows = engine.sample(bundle, 4000, rebalancing=Rebalancing("color", wished))
    found = rows["color"].value_counts().to_pylist()
    shares = {item["values"]: item["counts"] / 4000 for item in found}
    assert all(abs(shares[color] - share) < 0.05 for color, share in wished.items())


def test_systematic_sampling_comes_closer_to_the_models_shares(bundle: Bundle) -> None:
    def share(rows: int, seed: int, systematic: bool) -> float:
        drawn = engine.sample(bundle, rows, seed=seed, systematic=systematic)["flag"].to_pylist()
        return float(drawn.count(True) / rows)

    truth = share(100_000, 99, False)
    errors = {
        way: np.mean([abs(share(4096, seed, way) - truth) for seed in range(8)]) for way in (True, False)
    }
    assert errors[True] < errors[False] / 1.5
    drawn = engine.sample(bundle, 5000, seed=3, systematic=True)
    assert drawn.equals(engine.sample(bundle, 5000, seed=3, systematic=True))
    assert not drawn.equals(engine.sample(bundle, 5000, seed=4, systematic=True))
