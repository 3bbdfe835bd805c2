"""Bad generators are exposed by the metric that should, in plain words; good data raise no alarm."""

import numpy as np
import pandas as pd
import pytest

from simulacra_qa import evaluate
from simulacra_qa.intent import Intent
from simulacra_qa.report import Heading, render
from simulacra_qa.results import metrics_document, model_metrics
from simulacra_qa.verdict import Level, findings, verdicts


def population(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age = rng.normal(45, 12, rows)
    frame = pd.DataFrame(
        {
            "age": age,
            "income": 1000 * age * np.exp(rng.normal(0, 0.4, rows)),
            "job": np.where(age + rng.normal(0, 8, rows) > 50, "senior", "junior"),
            "note": pd.Series(rng.choice(["a", "b", "c"], rows)).mask(rng.random(rows) < 0.15),
        }
    )
    return frame.convert_dtypes()


@pytest.fixture(scope="module")
def halves() -> tuple[pd.DataFrame, pd.DataFrame]:
    return population(4000, 1), population(4000, 2)


def metrics_named(halves: tuple[pd.DataFrame, pd.DataFrame], synthetic: pd.DataFrame) -> dict[str, str]:
    return {finding.metric: finding.text for finding in findings(evaluate(*halves, synthetic))}


def test_fresh_sample_raises_no_alarm(halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    evaluation = evaluate(*halves, population(4000, 3))
    assert findings(evaluation) == []
    assert {verdict.level for verdict in verdicts(evaluation).values()} == {Level.GOOD}


def test_copied_records_are_found(halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    synthetic = population(4000, 3)
    synthetic.iloc[:400] = halves[0].iloc[:400]
    evaluation = evaluate(*halves, synthetic)
    distances = model_metrics(evaluation).distances
    assert distances is not None
    assert distances.ims_training == pytest.approx(0.1)
    assert distances.ims_holdout == 0
    texts = metrics_named(halves, synthetic)
    assert texts["ims_training"].startswith("Training records are copied: 10.0 %")
    assert "dcr_share" in texts
    assert {"membership", "identical_match", "linkability"} <= texts.keys()
    assert verdicts(evaluation)["distances"].level is Level.POOR


def test_lost_dependence_is_found(halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    rng = np.random.default_rng(0)
    fresh = population(4000, 3)
    independent = pd.DataFrame({name: fresh[name].to_numpy()[rng.permutation(4000)] for name in fresh})
    texts = metrics_named(halves, independent.convert_dtypes())
    assert texts.keys() == {"bivariate"}
    assert "Dependence between columns is lost" in texts["bivariate"]


def test_dropped_missing_values_are_found(halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    fresh = population(4000, 3)
    texts = metrics_named(halves, fresh.assign(note=fresh["note"].fillna("a")))
    assert "“note” is missing in 0.0 % of the synthetic rows" in texts["univariate"]
    assert "Missing values were dropped" in texts["univariate"]


def test_shifted_mean_is_found(halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    fresh = population(4000, 3)
    texts = metrics_named(halves, fresh.assign(age=fresh["age"] + 3))
    assert "The mean of “age” is higher" in texts["univariate"]


def test_distances_are_symmetric_in_training_and_holdout(halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    synthetic = population(4000, 3)
    forward, backward = (
        model_metrics(evaluate(a, b, synthetic)).distances for a, b in (halves, halves[::-1])
    )
    assert forward is not None
    assert backward is not None
    assert forward.dcr_training == pytest.approx(backward.dcr_holdout, abs=1e-6)
    assert forward.dcr_share == pytest.approx(1 - (backward.dcr_share or 0), abs=1e-6)


def test_missing_patterns_are_seen_by_the_classifier(halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    fresh = population(4000, 3)
    good, bad = (
        evaluate(*halves, synthetic) for synthetic in (fresh, fresh.assign(age=fresh["age"].round()))
    )
    assert good.discrimination is not None
    assert bad.discrimination is not None
    assert good.discrimination.synthetic == pytest.approx(0.5, abs=0.03)
    assert good.discrimination.holdout == pytest.approx(0.5, abs=0.03)
    assert verdicts(good)["discriminator"].level is Level.GOOD
    assert verdicts(bad)["discriminator"].level is not Level.GOOD


def test_document_holds_every_column_and_pair(halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    document = metrics_document(evaluate(*halves, population(4000, 3)))
    assert [column["column"] for column in document["columns"]] == list(halves[0])
    assert len(document["pairs"]) == 6
    low, high = document["intervals"]["overall_max"]
    assert low < document["metrics"]["accuracy"]["overall_max"] < high


@pytest.mark.parametrize(
    ("flaw", "level", "words", "card"),
    [
        ("none", "good", "No test found a trace", None),
        ("copies", "poor", "Do not share these data", "distances"),
        ("independence", "poor", "differ clearly from the original", "bivariate"),
        ("no nulls", "poor", "differ clearly from the original", "univariate"),
        ("shift", "poor", "differ clearly from the original", "univariate"),
    ],
)
def test_headline_and_cards_say_what_is_wrong(
    halves: tuple[pd.DataFrame, pd.DataFrame], flaw: str, level: str, words: str, card: str | None
) -> None:
    synthetic = population(4000, 3)
    rng = np.random.default_rng(0)
    if flaw == "copies":
        synthetic.iloc[:400] = halves[0].iloc[:400]
    elif flaw == "independence":
        shuffled = {name: synthetic[name].to_numpy()[rng.permutation(4000)] for name in synthetic}
        synthetic = pd.DataFrame(shuffled).convert_dtypes()
    elif flaw == "no nulls":
        synthetic["note"] = synthetic["note"].fillna("a")
    elif flaw == "shift":
        synthetic["age"] += 3
    evaluation = evaluate(*halves, synthetic, embed=False)
    document = Intent().document(metrics_document(evaluation), evaluation)
    assert document["headline"]["level"] == level
    assert words in document["headline"]["text"]
    levels = {name: verdict["level"] for name, verdict in document["verdicts"].items()}
    if card is None:
        assert set(levels.values()) == {"good"}
    else:
        assert levels[card] == "poor"
    page = render(evaluation, Heading())
    assert document["headline"]["text"] in page


def test_columns_that_only_the_synthetic_data_have_are_named(
    halves: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    synthetic = population(4000, 3).assign(name="Ann", id=1)
    (finding,) = findings(evaluate(*halves, synthetic))
    assert finding.level == Level.FAIR
    assert "“name”, “id”. Nothing here judges them" in finding.text


@pytest.mark.parametrize(("training", "holdout", "synthetic"), [(500, 500, 500), (400, 40, 30), (30, 30, 30)])
def test_few_harmless_rows_are_no_reason_for_alarm(training: int, holdout: int, synthetic: int) -> None:
    poor = 0
    for draw in range(5):
        parts = [population(rows, 10 * draw + i) for i, rows in enumerate((training, holdout, synthetic))]
        evaluation = evaluate(*parts, seed=draw, embed=False)
        document = Intent().document(metrics_document(evaluation), evaluation)
        assert document["verdicts"]["distances"]["level"] != "poor"
        poor += document["headline"]["level"] == "poor"
        assert ("too few rows to judge" in document["headline"]["text"]) == (synthetic < 100)
    assert poor == 0


def test_single_rows_are_no_evidence() -> None:
    evaluation = evaluate(*(population(1, seed) for seed in (1, 2, 3)))
    document = Intent().document(metrics_document(evaluation), evaluation)
    assert document["headline"]["level"] == "note"
    assert "too few rows to judge" in document["headline"]["text"]
    low, high = document["intervals"]["dcr_share"]
    assert low < 0.5 < high
    accuracy = model_metrics(evaluation).accuracy
    assert accuracy is not None
    assert accuracy.univariate_max is not None
    assert accuracy.univariate_max < 1


def test_copies_are_told_however_few_rows_there_are() -> None:
    training, holdout = population(40, 1), population(40, 2)
    evaluation = evaluate(training, holdout, training, embed=False)
    document = Intent().document(metrics_document(evaluation), evaluation)
    assert document["headline"]["text"].startswith("Do not share these data")


def test_every_ceiling_has_an_interval(halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    accuracy = model_metrics(evaluate(*halves, population(4000, 3), embed=False)).accuracy
    assert accuracy is not None
    for name in ("overall", "univariate", "bivariate", "trivariate"):
        interval = getattr(accuracy, f"{name}_max_interval")
        assert interval.low < getattr(accuracy, f"{name}_max") < interval.high
        assert interval.low < getattr(accuracy, name)
