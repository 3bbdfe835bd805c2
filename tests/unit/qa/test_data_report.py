"""Generated data are judged against protected statistics, and aware of what was asked for."""

import json

import numpy as np
import pandas as pd
import pytest

from simulacra.errors import CorruptBundle, InvalidArgument
from simulacra_qa import Context, evaluate
from simulacra_qa.against import Asked, Compared, compare_steps
from simulacra_qa.metrics.columns import as_table
from simulacra_qa.report import Heading, render
from simulacra_qa.results import metrics_document, model_metrics
from simulacra_qa.statistics import Statistics, statistics_of
from simulacra_qa.verdict import Level


def people(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    sex = rng.choice(["f", "m"], rows, p=[0.3, 0.7])
    age = rng.normal(np.where(sex == "f", 55, 40), 10, rows).round()
    return pd.DataFrame(
        {
            "sex": sex,
            "age": age,
            "income": pd.Series(age * 900 + rng.normal(0, 5000, rows)).mask(rng.random(rows) < 0.2),
            "grade": rng.choice([1, 2, 3], rows),
            "joined": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, rows), "D"),
        }
    )


@pytest.fixture(scope="module")
def statistics() -> Statistics:
    return Statistics.from_bytes(
        statistics_of(evaluate(people(8000, 1), people(2000, 2), people(4000, 3))).to_bytes()
    )


PLAIN = Asked()


def compared(statistics: Statistics, synthetic: pd.DataFrame, asked: Asked = PLAIN) -> Compared:
    *_, result = compare_steps(statistics, as_table(synthetic), asked)
    assert isinstance(result, Compared)
    return result


def shortfall(result: Compared) -> tuple[float, float]:
    """How far univariate and bivariate accuracy are below their ceilings."""
    accuracy = model_metrics(result.evaluation).accuracy
    assert accuracy is not None
    figures = (accuracy.univariate, accuracy.univariate_max, accuracy.bivariate, accuracy.bivariate_max)
    a, b, c, d = (figure or 0.0 for figure in figures)
    return b - a, d - c


def test_accuracy_against_statistics_is_that_against_the_data(statistics: Statistics) -> None:
    synthetic = people(4000, 4)
    stored = model_metrics(compared(statistics, synthetic).evaluation).accuracy
    real = model_metrics(evaluate(people(8000, 1), people(2000, 2), synthetic)).accuracy
    assert stored is not None
    assert real is not None
    assert stored.univariate == pytest.approx(real.univariate, abs=0.001)
    assert stored.bivariate == pytest.approx(real.bivariate, abs=0.003)
    assert stored.univariate_max == pytest.approx(real.univariate_max, abs=0.002)


def test_fresh_rows_raise_no_alarm_and_broken_ones_do(statistics: Statistics) -> None:
    fresh = compared(statistics, people(4000, 5))
    assert not [item for item in fresh.intent.findings(fresh.evaluation) if item.level is not Level.NOTE]
    broken = people(4000, 5)
    broken["income"] = broken["income"].fillna(0).sample(frac=1, random_state=0).to_numpy()
    result = compared(statistics, broken)
    texts = " ".join(item.text for item in result.intent.findings(result.evaluation))
    assert "Missing values were dropped" in texts
    assert "Dependence between columns is lost" in texts


def test_rebalanced_column_is_labelled_and_everything_else_is_judged(statistics: Statistics) -> None:
    pool = people(40_000, 6)
    even = pd.concat([part.head(2000) for _, part in pool.groupby("sex")])
    plain, aware = compared(statistics, even), compared(statistics, even, Asked(rebalanced=["sex"]))
    assert min(shortfall(plain)) > 0.03
    assert max(shortfall(aware)) < 0.01
    assert aware.intent.intended == {"sex": "rebalanced"}
    levels = {verdict.level for verdict in aware.intent.verdicts(aware.evaluation).values()}
    assert levels <= {Level.GOOD, Level.NOTE}
    page = render(aware.evaluation, Heading(title="t"), aware.intent)
    assert "intended: rebalanced" in page
    assert "“sex” is intended to differ: rebalanced." in page
    # What is wrong besides is still found.
    shifted = compared(statistics, even.assign(age=even["age"] + 8), Asked(rebalanced=["sex"]))
    assert "“age” is higher" in " ".join(f.text for f in shifted.intent.findings(shifted.evaluation))


def test_seeds_of_a_part_only_are_no_reason_for_a_verdict(statistics: Statistics) -> None:
    women = people(20_000, 7).query("sex == 'f'")
    result = compared(statistics, women, Asked(seeded=["sex"]))
    assert result.intent.follows
    assert {verdict.level for verdict in result.intent.verdicts(result.evaluation).values()} <= {
        Level.GOOD,
        Level.NOTE,
    }
    assert "Only a part of the original was asked for" in render(result.evaluation, Heading(), result.intent)
    document = result.intent.document(metrics_document(result.evaluation), result.evaluation)
    assert document["headline"]["level"] == "note"
    assert "no judgement" in document["headline"]["text"]


def test_several_seeded_columns_are_weighted_back_together(statistics: Statistics) -> None:
    pool = people(60_000, 8)
    weights = np.where(pool["sex"] == "f", 3.0, 1.0) * np.where(pool["grade"] == 2, 2.0, 1.0)
    skewed = pool.sample(6000, weights=weights, random_state=0)
    result = compared(statistics, skewed, Asked(seeded=["sex", "grade"]))
    assert not result.intent.follows
    assert max(shortfall(result)) < 0.01


def test_fair_column_loses_its_links_by_intention(statistics: Statistics) -> None:
    pool = people(12_000, 11)
    rng = np.random.default_rng(0)
    fair = pool.assign(sex=rng.permutation(pool["sex"].to_numpy()))
    plain = compared(statistics, fair)
    asked = compared(statistics, fair, Asked(fair=["age", "sex"]))
    assert shortfall(plain)[1] > shortfall(asked)[1] + 0.005
    assert asked.intent.intended == {"age": "the same in all groups by sex"}
    position = {(score.columns): score for score in asked.evaluation.marginals.bivariate}
    assert position[(0, 1)].accuracy == position[(0, 1)].ceiling
    assert position[(0, 2)].accuracy < position[(0, 2)].ceiling - 0.02


def test_imputed_column_may_lose_its_missing_values(statistics: Statistics) -> None:
    whole = people(6000, 9).dropna()
    assert shortfall(compared(statistics, whole))[0] > 0.03
    result = compared(statistics, whole, Asked(imputed=["income"]))
    assert max(shortfall(result)) < 0.01
    assert not [f for f in result.intent.findings(result.evaluation) if f.level is not Level.NOTE]


def test_statistics_hold_no_rare_value_no_extreme_and_no_small_count() -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "income": np.round(rng.normal(50_000, 9_000, 600), 2),
            "few": rng.choice([1, 2, 3], 600),
            "name": rng.choice(["Ann", "Bob"], 600),
        }
    )
    outliers = pd.DataFrame(
        {"income": [987_654_321.25, -456_789_123.5], "few": [777, 888], "name": ["Zebulon", "Quirinus"]}
    )
    training = pd.concat([frame, outliers], ignore_index=True)
    # Names that only the holdout makes frequent are rare in training all the same.
    holdout = pd.concat([frame, *[outliers.assign(income=50_000.0, few=2)] * 5], ignore_index=True)
    found = statistics_of(evaluate(training, holdout, frame))
    assert set(found.columns[2].labels[:-2]) == {"Ann", "Bob"}
    named = [text for column in found.columns for text in column.labels]
    named += [f"{bound:.4f}" for column in found.columns for bound in (*column.cuts, *column.values)]
    grids = [column.density for column in found.columns if column.density]
    named += [f"{bound:.4f}" for grid in grids for bound in (grid.low, grid.high)]
    for secret in ("98765", "9.87", "45678", "777", "888", "Zeb", "Quir"):
        assert not [text for text in named if secret in text], secret
    for cells in (*(column.cells for column in found.columns), *found.pairs):
        assert all(count == 0 or count >= 5 for count in (*cells.counts, cells.rest))
    income = found.columns[0]
    ordered = np.sort(training["income"])
    assert ordered[9] <= min(income.cuts)
    assert max(income.cuts) <= ordered[-10]


def test_damaged_statistics_are_refused(statistics: Statistics) -> None:
    changes: list[tuple[tuple[str | int, ...], object]] = [
        (("columns", 0, "labels"), ["one", "too", "few"]),
        (("columns", 1, "cells", "counts", 0), -5),
        (("pairs", 0, "counts", 0), 10**9),
        (("pairs", 0, "counts"), [1]),
        (("rows",), 10**15),
        (("columns", 1, "cuts", 0), float("nan")),
    ]
    damaged = [b"", b"[]"]
    for path, value in changes:
        document = json.loads(statistics.to_bytes())
        part = document
        for step in path[:-1]:
            part = part[step]
        part[path[-1]] = value
        damaged.append(json.dumps(document).encode())
    for each in damaged:
        with pytest.raises(CorruptBundle, match="statistics of the model"):
            Statistics.from_bytes(each)


def test_missing_column_and_empty_table_are_told(statistics: Statistics) -> None:
    for table, words in ((people(5, 1).drop(columns="age"), '"age"'), (people(0, 1), "empty")):
        with pytest.raises(InvalidArgument, match=words):
            compared(statistics, table)


def test_types_may_have_changed_since_training(statistics: Statistics) -> None:
    synthetic = people(3000, 10)
    texts = synthetic.assign(
        age=synthetic["age"].astype("Int64").astype(str), joined=synthetic["joined"].dt.strftime("%Y-%m-%d")
    )
    first, second = (compared(statistics, each) for each in (synthetic, texts))
    assert shortfall(first) == pytest.approx(shortfall(second), abs=1e-6)


def test_statistics_leave_key_and_context_out() -> None:
    def trips(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
        rng = np.random.default_rng(seed)
        subjects = pd.DataFrame({"id": range(300), "kind": rng.choice(["a", "b"], 300)})
        owner = np.repeat(np.arange(300), rng.integers(1, 5, 300))
        return subjects, pd.DataFrame({"owner": owner, "cost": rng.normal(0, 1, len(owner)), "n": owner % 3})

    parts = [trips(seed) for seed in range(3)]
    (training, holdout, synthetic), rows = ([part[i] for part in parts] for i in (0, 1))
    context = Context(training, holdout, synthetic, "id")
    evaluation = evaluate(*rows, key="owner", context=context, embed=False)
    found = Statistics.from_bytes(statistics_of(evaluation).to_bytes())
    assert [column.name for column in found.columns] == ["cost", "n"]
    assert max(shortfall(compared(found, trips(7)[1]))) < 0.02


def test_hostile_names_and_values_stay_text() -> None:
    name = "<script>alert(1)</script>"
    frame = pd.DataFrame({name: np.random.default_rng(0).choice([name, "b"], 400), "x": np.arange(400) % 7})
    found = Statistics.from_bytes(statistics_of(evaluate(frame, frame, frame)).to_bytes())
    result = compared(found, frame, Asked(rebalanced=[name]))
    page = render(result.evaluation, Heading(title=name, table_name=name), result.intent)
    assert "<script>alert" not in page
    document = result.intent.document(metrics_document(result.evaluation), result.evaluation)
    assert document["intended"] == {name: "rebalanced"}
