"""Privacy tests keep their level where training left no trace, and each exposes the leak that is its own."""

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from simulacra_qa import Evaluation, evaluate
from simulacra_qa.metrics.columns import as_table, read_column
from simulacra_qa.metrics.distances import DistanceScores, closest
from simulacra_qa.metrics.exchange import Labels, PrivacyTest
from simulacra_qa.metrics.membership import Battery, attack_all
from simulacra_qa.metrics.privacy import leaks_of, privacy_tests
from simulacra_qa.metrics.records import Records
from simulacra_qa.results import model_metrics

TESTS = {"identical_match", "rare_value", "extreme", "singling_out", "attribute_inference", "linkability"}


def customers(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age = rng.gamma(9, 5, rows)
    popularity = 1 / np.arange(1, 61)
    return pd.DataFrame(
        {
            "age": np.floor(age),
            "income": np.round(np.exp(rng.normal(9 + age / 90, 0.6, rows)), 0),
            "score": pd.Series(age / 50 + rng.normal(0, 1, rows)).mask(rng.random(rows) < 0.1),
            "joined": pd.Timestamp("2015-01-01") + pd.to_timedelta(rng.integers(0, 3000, rows), "D"),
            "region": rng.choice(["north", "south", "west"], rows),
            "town": rng.choice([f"town {i}" for i in range(60)], rows, p=popularity / popularity.sum()),
            "member": rng.random(rows) < 0.3,
            "children": rng.poisson(age / 40),
        }
    )


@dataclass(frozen=True)
class Attacked:
    """What the privacy tests find, without the rest of an evaluation."""

    tests: dict[str, PrivacyTest]
    membership: Battery
    distances: DistanceScores
    rare_categories: int


def attacked(*frames: pd.DataFrame, seed: int = 0) -> Attacked:
    tables = [as_table(frame) for frame in frames]
    rows = (len(tables[0]), len(tables[1]), len(tables[2]))
    rng = np.random.default_rng(seed)
    records = Records.sampled(rows, rng)
    assert records is not None
    leaks = leaks_of(records, rows)
    assert leaks is not None
    for name in frames[0]:
        column = read_column(tables, str(name))
        records.add(column)
        leaks.add(column)
    *_, distances = closest(records)
    assert isinstance(distances, DistanceScores)
    battery = attack_all(records.points(), rng)
    assert battery is not None
    tests = {test.name: test for test in privacy_tests(records, leaks, rng)}
    return Attacked(tests, battery, distances, leaks.rare_categories)


def p_values(found: Attacked) -> dict[str, float]:
    """The p-values of all tests; an interval gives 0 or 1."""
    interval = found.distances.dcr_share_interval
    return {
        "dcr_share": float(interval.low <= 0.5 <= interval.high),
        "membership": found.membership.p_value,
        **{name: test.p_value for name, test in found.tests.items()},
    }


def most_of(draws: int, level: float, *, chance: float) -> int:
    """The number of alarms that a test of this level exceeds with at most this chance."""
    tail, alarms = 1.0, -1
    while tail > chance:
        alarms += 1
        tail -= math.comb(draws, alarms) * level**alarms * (1 - level) ** (draws - alarms)
    return alarms


def test_tests_keep_their_level_where_training_leaves_no_trace() -> None:
    draws, level = 40, 0.05
    found = defaultdict(list)
    for draw in range(draws):
        frames = [customers(500, 1000 * part + draw) for part in (1, 2, 3)]
        for name, p_value in p_values(attacked(*frames, seed=draw)).items():
            found[name].append(p_value)
    assert set(found) == TESTS | {"membership", "dcr_share"}
    most = most_of(draws, level, chance=0.001)
    assert most == 7
    for name, values in found.items():
        assert len(values) == draws
        assert sum(value < level for value in values) <= most, name
        if name != "dcr_share":
            # Evenly spread over [0, 1], and so neither timid nor bold: within 4 standard errors of a half.
            assert float(np.mean(values)) == pytest.approx(0.5, abs=4 / math.sqrt(12 * draws)), name
    alarms = sum(value < level for values in found.values() for value in values)
    assert alarms >= 4  # of 320, where 16 are expected


@pytest.fixture(scope="module")
def halves() -> tuple[pd.DataFrame, pd.DataFrame]:
    return customers(1500, 1), customers(1500, 2)


def test_rare_values_that_come_back_are_found(halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    training, holdout = (
        half.assign(town=[f"{name} {i}" if i % 30 == 0 else name for i, name in enumerate(half["town"])])
        for half in halves
    )
    training["town"] = training["town"].where(training.index % 30 != 0, training["town"] + " (old)")
    synthetic = customers(1500, 3)
    good = attacked(training, holdout, synthetic)
    synthetic.loc[:19, "town"] = training["town"][::30][:20].to_numpy()
    bad = attacked(training, holdout, synthetic)
    assert bad.rare_categories == good.rare_categories + 20
    found = bad.tests
    assert found["rare_value"].p_value < 0.001
    assert found["rare_value"].training > found["rare_value"].holdout
    assert found["linkability"].p_value > 0.001


def test_extremes_that_come_back_are_found(halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    synthetic = customers(1500, 3)
    for column in ("income", "score"):
        ordered = np.sort(halves[0][column].dropna())
        synthetic.loc[:7, column] = ordered[-8:]
        synthetic.loc[8:15, column] = ordered[:8]
    found = attacked(*halves, synthetic).tests
    assert found["extreme"].p_value < 0.001
    assert found["extreme"].training > 0.5
    assert found["extreme"].holdout < 0.2


def test_secrets_that_synthetic_records_betray_are_found(halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    # All cells are a little off, but for the secrets: whoever finds the neighbour reads them.
    training = halves[0]
    rng = np.random.default_rng(0)
    synthetic = training.assign(
        age=training["age"] + rng.integers(-1, 2, 1500),
        income=training["income"] * rng.normal(1, 0.01, 1500),
        score=training["score"] + rng.normal(0, 0.02, 1500),
    )
    found = attacked(training, halves[1], synthetic).tests
    assert found["attribute_inference"].p_value < 1e-6
    assert found["attribute_inference"].baseline is not None
    assert found["attribute_inference"].training > found["attribute_inference"].baseline + 0.05
    assert found["linkability"].p_value < 1e-6
    assert found["singling_out"].p_value < 1e-6
    assert found["attribute_inference"].interval.low > 0


def test_a_generator_that_learnt_only_the_population_betrays_nobody(
    halves: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    found = attacked(*halves, customers(1500, 3)).tests
    assert set(found) == TESTS
    assert min(test.p_value for test in found.values()) > 0.001
    assert all(test.interval.low < 0.05 and test.risk < 0.05 for test in found.values())


def test_labels_give_exact_p_values() -> None:
    # Of the 70 ways to choose 4 of 8 targets, one has as large a sum.
    labels = Labels(4, 4, np.random.default_rng(0))
    scores = np.array([8.0, 7, 6, 5, 4, 3, 2, 1])
    assert labels.of_scores(scores).p_value == pytest.approx(1 / 70, abs=0.01)
    assert labels.of_scores(-scores).p_value == 1
    assert labels.of_scores(np.zeros(8)).p_value == 1


def test_metrics_hold_the_tests(halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    privacy = model_metrics(evaluate(*halves, customers(1500, 3))).privacy
    assert privacy is not None
    assert {test.name for test in privacy.tests or ()} == TESTS
    assert len(privacy.membership_attacks or ()) == 4
    assert privacy.membership_p_value is not None
    assert model_metrics(evaluate(halves[0], None, customers(200, 3))).privacy is None


@pytest.mark.parametrize("rows", [1, 2, 19, 21, 45])
def test_few_or_empty_values_are_no_fault(rows: int) -> None:
    frames = [customers(rows, seed).assign(nothing=None, same=1.0, huge=1e308) for seed in range(3)]
    evaluation = evaluate(*frames)
    assert isinstance(evaluation, Evaluation)
    assert all(0 < test.p_value <= 1 for test in evaluation.privacy)
    one = [frame[["age"]] for frame in frames]
    assert "linkability" not in {test.name for test in evaluate(*one).privacy}


def test_copies_are_looked_for_among_all_records() -> None:
    rng = np.random.default_rng(0)
    training, holdout, fresh = (
        pd.DataFrame({"value": rng.normal(size=rows)}) for rows in (13_000, 12_000, 14_000)
    )
    synthetic = pd.concat([training[:7_000], fresh[:7_000]], ignore_index=True)
    rows = (len(training), len(holdout), len(synthetic))
    records = Records.sampled(rows, rng)
    assert records is not None
    records.add(read_column([as_table(part) for part in (training, holdout, synthetic)], "value"))
    assert records.size == 10_000
    members, others, made = records.identities()
    assert len(members) == len(others) == len(made) == len(np.unique(made)) == 12_000
    assert float(np.isin(made, members).mean()) == pytest.approx(0.5 * 12 / 13, abs=0.02)
    assert not np.isin(made, others).any()
